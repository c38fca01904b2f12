"""Tensors of the Open Inference Protocol, as JSON values or as bytes; no IO.

What a message claims is compared with what it holds before anything is allocated for it.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marsmith.gateway.refusals import malformed

BYTES = "BYTES"
# All of them little-endian on the wire.
_CODES = "BOOL ? UINT8 u1 UINT16 <u2 UINT32 <u4 UINT64 <u8 INT8 i1 INT16 <i2 INT32 <i4 INT64 <i8"
_CODES += " FP16 <f2 FP32 <f4 FP64 <f8"
DTYPES = dict(zip(_CODES.split()[::2], map(np.dtype, _CODES.split()[1::2]), strict=True))
# Python's types of JSON values, by NumPy's kinds of types.
_KINDS: dict[str, set[type]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}}
_MOST_DIMENSIONS = 16
_LENGTH = struct.Struct("<I")  # of an element of BYTES
_HINT = "see GET /v2/models/NAME for what the model takes"


@dataclass(frozen=True)
class Tensor:
    """A tensor: `values` are an array in its shape, or of BYTES a flat list."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: NDArray[Any] | Sequence[bytes]
    parameters: Mapping[str, Any] = field(default_factory=dict)


def tensor_of(
    name: str, datatype: str, shape: Any, data: Any, parameters: Mapping[str, Any]
) -> Tensor:
    """Return a tensor of JSON values, flat or nested, or of bytes. Raises GatewayError."""
    right = isinstance(shape, (list, tuple)) and 0 < len(shape) <= _MOST_DIMENSIONS
    if not right or not all(type(size) is int and 0 < size < 1 << 31 for size in shape):
        raise malformed(f"{name}: its shape is not 1 to {_MOST_DIMENSIONS} sizes", _HINT)
    if datatype not in (BYTES, *DTYPES):
        raise malformed(f"{name}: there is no datatype {datatype!r:.40}", _HINT)
    for extension in ("shared_memory_region", "classification"):
        if parameters.get(extension):
            raise malformed(f"{name}: {extension} is not offered here", "send the tensor itself")
    values: Any = None
    if isinstance(data, memoryview):
        values = _elements(data) if datatype == BYTES else _array(data, DTYPES[datatype])
    elif isinstance(data, list):
        flat, nested = rectangle(data, len(shape))
        values = _checked(name, datatype, flat) if nested in ([len(flat)], list(shape)) else None
    if values is None or len(values) != math.prod(shape):
        raise malformed(f"{name}: its data do not fill the shape {list(shape)}", _HINT)
    shaped = values if datatype == BYTES else values.reshape(shape)
    return Tensor(name, datatype, tuple(shape), shaped, parameters)


def to_bytes(tensor: Tensor) -> bytes:
    """Return the bytes of a tensor."""
    if isinstance(tensor.values, np.ndarray):
        return tensor.values.tobytes()
    return b"".join(_LENGTH.pack(len(one)) + one for one in tensor.values)


def json_of(tensor: Tensor) -> dict[str, Any]:
    """Return the data of a tensor as JSON; bytes that are no text are base64, and said to be so."""
    if isinstance(tensor.values, np.ndarray):
        return {"data": tensor.values.reshape(-1).tolist()}
    try:
        return {"data": [one.decode() for one in tensor.values]}
    except UnicodeDecodeError:
        texts = [base64.b64encode(one).decode() for one in tensor.values]
        return {"parameters": {"content_type": "base64"}, "data": texts}


def rectangle(values: list[Any], most: int = _MOST_DIMENSIONS) -> tuple[list[Any], list[int]]:
    """Return what lists of one shape hold, and that shape, of at most so many dimensions."""
    flat, shape = values, [len(values)]
    while len(shape) < most and set(map(type, flat)) == {list}:
        lengths = set(map(len, flat))
        if len(lengths) != 1 or lengths == {0}:
            break
        flat = list(chain.from_iterable(flat))
        shape += lengths
    return flat, shape


def _checked(name: str, datatype: str, flat: list[Any]) -> Any:
    """Return JSON values as those of a datatype: no text becomes a number, and no 1 a true."""
    kinds = {str, bytes} if datatype == BYTES else _KINDS[DTYPES[datatype].kind]
    if not set(map(type, flat)) <= kinds:
        raise malformed(f"{name}: a value is not of the datatype {datatype}", _HINT)
    if datatype == BYTES:
        return [one.encode() if isinstance(one, str) else one for one in flat]
    try:
        with np.errstate(over="raise"):  # what is too large for a float
            return np.array(flat, DTYPES[datatype])
    except (OverflowError, FloatingPointError):
        raise malformed(f"{name}: a value is out of the range of {datatype}", _HINT) from None


def _array(data: memoryview, dtype: np.dtype[Any]) -> NDArray[Any] | None:
    if len(data) % dtype.itemsize:
        return None
    # As a bool, NumPy takes no byte but 0 and 1.
    return np.frombuffer(data, "u1") != 0 if dtype == np.bool_ else np.frombuffer(data, dtype)


def _elements(data: memoryview) -> list[bytes] | None:
    """Return the elements of BYTES, each after its length; None if they are not whole."""
    found: list[bytes] = []
    place = 0
    while place < len(data):
        start = place + _LENGTH.size
        if start > len(data):
            return None
        place = start + _LENGTH.unpack_from(data, place)[0]
        found.append(bytes(data[start:place]))
    return found if place == len(data) else None
