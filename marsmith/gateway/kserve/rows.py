"""Rows of tensors as requests to a model, and its answers as tensors; no IO.

An element of BYTES is the body of a request. A UINT8 tensor [N, H, W, 3 or 1] is N pictures for a
model that takes pictures. Other numbers are JSON lists, or what marsmith_handlers read as tensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from marsmith.answers.forms import Field, form
from marsmith.answers.messages import Request, Response
from marsmith.gateway.kserve.answers import JSON, b64decode
from marsmith.gateway.kserve.tensors import BYTES, DTYPES, Tensor, rectangle
from marsmith.gateway.refusals import malformed

OUTPUT = "output"  # the name of answers that are no JSON objects
_PNM = {1: "P5", 3: "P6"}  # a picture's form by its channels: lossless, and not compressed


@dataclass(frozen=True)
class Form:
    """How a row becomes a request. `keys`: of the JSON object that a request is.

    A model takes `pictures`; its handler may also read `tensors`, the model's input itself.
    """

    pictures: bool = False
    tensors: bool = False
    keys: frozenset[str] = frozenset()
    content_type: str = ""


def requests_of(inputs: Sequence[Tensor], form: Form) -> list[Request]:
    """Return a request for each row of the inputs. Raises GatewayError."""
    if len({tensor.shape[0] for tensor in inputs}) != 1:
        hint = "let the first dimension of each be the number of rows"
        raise malformed("the inputs differ in their number of rows", hint)
    if len(inputs) == 1 and inputs[0].name not in form.keys:
        return list(_alone(inputs[0], form))
    names = [tensor.name for tensor in inputs]
    rows = zip(*map(_json_rows, inputs), strict=True)
    return [_json(dict(zip(names, row, strict=True))) for row in rows]


def _alone(tensor: Tensor, form: Form) -> Iterator[Request]:
    values = tensor.values
    if not isinstance(values, np.ndarray):
        if len(values) == tensor.shape[0]:
            return _bodies(tensor, form.content_type)
    elif form.pictures and tensor.datatype == "UINT8" and values.ndim == 4:
        if values.shape[3] in _PNM:
            return map(_picture, values)
    elif form.tensors and tensor.datatype == "FP32":
        return map(_tensor, values)
    return map(_json, _json_rows(tensor))


def _bodies(tensor: Tensor, content_type: str) -> Iterator[Request]:
    """Yield elements as bodies, as the input's parameter content_type has it.

    It is "base64", then they are decoded, or their media type.
    """
    given = tensor.parameters.get("content_type")
    if isinstance(given, str) and "/" in given:
        content_type = given
    for element in tensor.values:
        try:
            body = b64decode(element) if given == "base64" else element
        except ValueError:
            raise malformed(f"{tensor.name}: an element is not base64", "correct it") from None
        yield Request(body, content_type)


def _picture(pixels: NDArray[Any]) -> Request:
    height, width, channels = pixels.shape
    return Request(f"{_PNM[channels]} {width} {height} 255\n".encode() + pixels.tobytes())


def _tensor(values: NDArray[Any]) -> Request:
    """Return the model's input in the form that marsmith_handlers read (image_request.py)."""
    metadata = json.dumps({"dims": values.shape}).encode()
    data = Field("data", values.tobytes(), "data", "application/octet-stream")
    return form([data, Field("metadata", metadata)])


def _json_rows(tensor: Tensor) -> Sequence[Any]:
    if isinstance(tensor.values, np.ndarray):
        if not np.isfinite(tensor.values).all():
            raise malformed(f"{tensor.name} holds NaN or infinite values", "send finite numbers")
        return list(tensor.values.tolist())
    try:
        texts = np.array([one.decode() for one in tensor.values], object)
    except UnicodeDecodeError:
        hint = "send bytes as the only input"
        raise malformed(f"{tensor.name}: an element is no text", hint) from None
    return list(texts.reshape(tensor.shape).tolist())


def _json(row: Any) -> Request:
    return Request(json.dumps(row).encode(), JSON)


def outputs_of(answers: Sequence[Response]) -> list[Tensor]:
    """Return the outputs of a request: one for each key that all answers have, or one for all.

    Numbers, truth values and text keep their types, also in lists of one shape. Other values are
    BYTES with JSON, and answers that are no JSON are BYTES as they are.
    """
    rows = [_value(answer) for answer in answers]
    keys = rows[0].keys() if isinstance(rows[0], dict) else ()
    if keys and all(isinstance(row, dict) and row.keys() == keys for row in rows):
        return [_column(key, [row[key] for row in rows]) for key in keys]
    return [_column(OUTPUT, rows)]


def _value(answer: Response) -> Any:
    if answer.content_type not in ("", JSON):
        return answer.body
    try:
        return from_json(answer.body, allow_inf_nan=False)
    except ValueError:
        return answer.body


def _column(name: str, values: list[Any]) -> Tensor:
    flat, shape = rectangle(values)
    types = set(map(type, flat))
    datatype = "FP64" if float in types else "INT64" if int in types else "BOOL"
    if types in ({bool}, {int}, {float}, {int, float}):
        with suppress(OverflowError):  # Python's integers have no end
            numbers = np.array(flat, DTYPES[datatype]).reshape(shape)
            if np.isfinite(numbers).all():  # JSON has no other numbers
                return Tensor(name, datatype, tuple(shape), numbers)
    if not types <= {str, bytes}:
        flat, shape = values, [len(values)]
    return Tensor(name, BYTES, tuple(shape), [_bytes(one, types) for one in flat])


def _bytes(value: Any, types: set[type]) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if types <= {str, bytes} else json.dumps(value).encode()
