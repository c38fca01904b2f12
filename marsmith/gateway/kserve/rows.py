"""Rows of tensors as requests to a model, and its answers as tensors; no IO.

An element of BYTES is the body of a request. A UINT8 tensor [N, H, W, 3 or 1] is N pictures for a
model that takes pictures. Other numbers are JSON lists, or what marsmith_handlers read as tensors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json, to_json

from marsmith.answers.forms import Field, form
from marsmith.answers.messages import HEADER_VALUE, Request, Response
from marsmith.gateway.kserve.answers import JSON, b64decode
from marsmith.gateway.kserve.tensors import BYTES, DTYPES, Tensor, rectangle
from marsmith.gateway.refusals import malformed

OUTPUT = "output"  # the name of answers that are no JSON objects
Specs = tuple[dict[str, Any], ...]
_MEDIA_TYPE = re.compile(HEADER_VALUE)
_NUMBERS = ({bool}, {int}, {float}, {int, float})
_PNM = {1: "P5", 3: "P6"}  # a picture's form by its channels: lossless, and not compressed


def spec(name: str, datatype: str = BYTES, dimensions: int = 1) -> dict[str, Any]:
    """Return an input or output as metadata have it; requests may differ in all sizes."""
    return {"name": name, "datatype": datatype, "shape": [-1] * dimensions}


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives, as far as it is known, and how a row becomes a request.

    A model takes `pictures`; its handler may read `tensors`, the model's input itself, too. Where
    it is `keyed`, a request is a JSON object with a key for each input.
    """

    inputs: Specs = (spec("input"),)
    outputs: Specs = (spec(OUTPUT),)
    pictures: bool = False
    tensors: bool = False
    keyed: bool = False
    content_type: str = ""


def requests_of(inputs: Sequence[Tensor], signature: Signature) -> list[Request]:
    """Return a request for each row of the inputs. Raises GatewayError."""
    if len({tensor.shape[0] for tensor in inputs}) != 1:
        hint = "let the first dimension of each be the number of rows"
        raise malformed("the inputs differ in their number of rows", hint)
    if len(inputs) == 1 and not signature.keyed:
        return list(_alone(inputs[0], signature))
    names = [tensor.name for tensor in inputs]
    rows = zip(*map(_json_rows, inputs), strict=True)
    return [_json(dict(zip(names, row, strict=True))) for row in rows]


def _alone(tensor: Tensor, signature: Signature) -> Iterable[Request]:
    values = tensor.values
    if not isinstance(values, np.ndarray):
        if len(values) == tensor.shape[0]:
            return _bodies(tensor, signature.content_type)
    elif signature.pictures and tensor.datatype == "UINT8" and values.ndim == 4:
        if values.shape[3] in _PNM:
            return map(_picture, values)
    elif signature.tensors and tensor.datatype == "FP32":
        return map(_tensor, values)
    return map(_json, _json_rows(tensor))


def _bodies(tensor: Tensor, content_type: str) -> list[Request]:
    """Return elements as bodies of the media type that the input's parameter content_type names.

    If it names base64, they are decoded; what else it names is about other servers.
    """
    given = str(tensor.parameters.get("content_type", ""))
    if "/" in given and not _MEDIA_TYPE.fullmatch(given):
        raise malformed(f"{tensor.name}: content_type is no media type", "write it as image/png")
    if given != "base64":
        content_type = given if "/" in given else content_type
        return [Request(element, content_type) for element in tensor.values]
    try:
        return [Request(b64decode(element)) for element in tensor.values]
    except ValueError:
        raise malformed(f"{tensor.name}: an element is not base64", "correct it") from None


def _picture(pixels: NDArray[Any]) -> Request:
    height, width, channels = pixels.shape
    return Request(f"{_PNM[channels]} {width} {height} 255\n".encode() + pixels.tobytes())


def _tensor(values: NDArray[Any]) -> Request:
    """Return the model's input in the form that marsmith_handlers read (image_request.py)."""
    metadata = to_json({"dims": values.shape})
    data = Field("data", values.tobytes(), "data", "application/octet-stream")
    return form([data, Field("metadata", metadata)])


def _json_rows(tensor: Tensor) -> list[Any]:
    values = tensor.values
    try:
        if not isinstance(values, np.ndarray):
            values = np.array([one.decode() for one in values], object).reshape(tensor.shape)
        elif not np.isfinite(values).all():
            raise ValueError("holds NaN or infinite values")
    except ValueError as error:
        why = f"{tensor.name} cannot be sent as JSON: {error}"
        raise malformed(why, "send finite numbers, text, or bytes as the only input") from None
    return list(values.tolist())


def _json(row: Any) -> Request:
    return Request(to_json(row), JSON)


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
    with suppress(ValueError):
        if answer.content_type in ("", JSON):
            return from_json(answer.body, allow_inf_nan=False)
    return answer.body


def _column(name: str, values: list[Any]) -> Tensor:
    flat, shape = rectangle(values)
    types = set(map(type, flat))
    datatype = "FP64" if float in types else "INT64" if int in types else "BOOL"
    if types in _NUMBERS:
        with suppress(OverflowError):  # Python's integers have no end
            numbers = np.array(flat, DTYPES[datatype])
            if datatype != "FP64" or np.isfinite(numbers).all():  # JSON has no other numbers
                return Tensor(name, datatype, tuple(shape), numbers.reshape(shape))
    if not types <= {str, bytes}:
        flat, shape = values, [len(values)]
    return Tensor(name, BYTES, tuple(shape), [_bytes(one, types) for one in flat])


def _bytes(value: Any, types: set[type]) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if types <= {str, bytes} else to_json(value)
