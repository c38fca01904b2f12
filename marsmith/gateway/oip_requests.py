"""Rows of tensors as requests to a model: what handlers take of them; no IO.

An element of BYTES is the body of a request. A UINT8 tensor [N, H, W, 3 or 1] is N pictures for a
model that takes pictures. Other numbers are JSON lists, or what marsmith_handlers read as tensors.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marsmith.answers.forms import Field, form
from marsmith.answers.messages import Request
from marsmith.answers.requests import JSON
from marsmith.gateway.oip_signature import Signature
from marsmith.gateway.oip_tensors import Tensor
from marsmith.gateway.refusals import malformed

_HEADS = {1: "P5", 3: "P6"}  # of a picture in PNM, by its channels: lossless, and not compressed
_NO_FINITE = "send finite numbers, or the tensor to a model that takes it as BYTES"


def requests_of(inputs: Sequence[Tensor], signature: Signature) -> list[Request]:
    """Return a request for each row of the inputs. Raises GatewayError."""
    count = inputs[0].shape[0]
    for tensor in inputs:
        if tensor.shape[0] != count:
            message = f"{tensor.name} has {tensor.shape[0]} rows, {inputs[0].name} has {count}"
            raise malformed(message, "let the first dimension of all inputs be the number of rows")
    known = {spec.name for spec in signature.inputs}
    if len(inputs) == 1 and not (signature.keyed and inputs[0].name in known):
        return list(_single(inputs[0], signature))
    columns = [list(_json_rows(tensor)) for tensor in inputs]
    names = [tensor.name for tensor in inputs]
    rows = zip(*columns, strict=True)
    return [_json(dict(zip(names, row, strict=True))) for row in rows]


def _single(tensor: Tensor, signature: Signature) -> Iterator[Request]:
    values = tensor.values
    if not isinstance(values, np.ndarray):
        if math.prod(tensor.shape) == tensor.shape[0]:
            yield from _bodies(tensor, signature.content_type)
        else:
            yield from map(_json, _json_rows(tensor))
    elif signature.pictures and values.dtype == np.uint8 and _is_pictures(values.shape):
        yield from map(_picture, values)
    elif signature.tensors and tensor.datatype == "FP32" and values.ndim > 1:
        yield from map(_tensor, values)
    else:
        yield from map(_json, _json_rows(tensor))


def _bodies(tensor: Tensor, content_type: str) -> Iterator[Request]:
    """Yield elements as bodies: as they are, or the bytes that base64 stands for.

    `content_type` of the tensor's parameters is "base64", or a media type.
    """
    given = tensor.parameters.get("content_type")
    if isinstance(given, str) and "/" in given:
        content_type = given
    for element in tensor.values:
        yield Request(_plain(tensor.name, element) if given == "base64" else element, content_type)


def _plain(name: str, text: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except (ValueError, binascii.Error):
        raise malformed(f"{name}: an element is not base64", "correct it") from None


def _is_pictures(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[3] in _HEADS


def _picture(pixels: NDArray[Any]) -> Request:
    height, width, channels = pixels.shape
    head = f"{_HEADS[channels]} {width} {height} 255\n"
    return Request(head.encode() + pixels.tobytes(), "image/x-portable-anymap")


def _tensor(values: NDArray[Any]) -> Request:
    """Return the model's input in the form that marsmith_handlers read (image_request.py)."""
    metadata = json.dumps({"dims": list(values.shape)}).encode()
    data = Field("data", values.tobytes(), "data", "application/octet-stream")
    return form([data, Field("metadata", metadata)])


def _json_rows(tensor: Tensor) -> Iterator[Any]:
    if isinstance(tensor.values, np.ndarray):
        if not np.isfinite(tensor.values).all():
            raise malformed(f"{tensor.name} holds NaN or infinite values", _NO_FINITE)
        yield from tensor.values.tolist()
        return
    try:
        texts = [one.decode() for one in tensor.values]
    except UnicodeDecodeError:
        hint = "send bytes as the only input"
        raise malformed(f"{tensor.name}: an element is no text", hint) from None
    width = len(texts) // tensor.shape[0]
    for start in range(0, len(texts), width):
        yield texts[start] if width == 1 else texts[start : start + width]


def _json(row: Any) -> Request:
    return Request(json.dumps(row).encode(), JSON)
