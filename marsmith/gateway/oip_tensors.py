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

from marsmith.gateway.refusals import GatewayError, malformed

BYTES = "BYTES"
# On the wire all numbers are little-endian.
DTYPES = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_MOST_DIMENSIONS = 16
_LENGTH = struct.Struct("<I")  # of an element of BYTES
# Python's types of JSON values that fit NumPy's kinds of types.
_KINDS: dict[str, set[type]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}}
_HINT = "see GET /v2/models/NAME for what the model takes"


@dataclass(frozen=True)
class Tensor:
    """A tensor: `values` are an array in its shape, or of BYTES a flat list."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: NDArray[Any] | Sequence[bytes]
    parameters: Mapping[str, Any] = field(default_factory=dict)


def from_values(name: str, datatype: str, shape: Any, data: Any) -> Tensor:
    """Return a tensor of JSON values, flat or nested. Raises GatewayError."""
    dims = _shape(name, shape)
    flat = _flat(name, data, len(dims))
    if len(flat) != math.prod(dims):
        raise _size(name, dims, f"{len(flat)} values")
    types = set(map(type, flat))
    if datatype == BYTES:
        if not types <= {str, bytes}:
            raise malformed(f"{name}: an element of BYTES is no text", _HINT)
        return Tensor(name, BYTES, dims, [_encoded(name, one) for one in flat])
    dtype = _dtype(name, datatype)
    if not types <= _KINDS[dtype.kind]:
        raise malformed(f"{name}: a value is not of the datatype {datatype}", _HINT)
    try:
        # What is too large for a float becomes infinite, and NumPy warns of it.
        with np.errstate(over="raise"):
            return Tensor(name, datatype, dims, np.array(flat, dtype).reshape(dims))
    except (OverflowError, FloatingPointError):
        raise malformed(f"{name}: a value is out of the range of {datatype}", _HINT) from None


def from_bytes(name: str, datatype: str, shape: Any, data: memoryview) -> Tensor:
    """Return a tensor of its bytes. Raises GatewayError."""
    dims = _shape(name, shape)
    count = math.prod(dims)
    if datatype == BYTES:
        return Tensor(name, BYTES, dims, _elements(name, dims, count, data))
    dtype = _dtype(name, datatype)
    if len(data) != count * dtype.itemsize:
        raise _size(name, dims, f"{len(data)} bytes")
    if datatype == "BOOL":  # another value than 0 and 1 is no bool for NumPy
        return Tensor(name, datatype, dims, (np.frombuffer(data, "u1") != 0).reshape(dims))
    return Tensor(name, datatype, dims, np.frombuffer(data, dtype).reshape(dims))


def to_bytes(tensor: Tensor) -> bytes:
    """Return the bytes of a tensor."""
    if isinstance(tensor.values, np.ndarray):
        return tensor.values.astype(DTYPES[tensor.datatype], copy=False).tobytes()
    return b"".join(_LENGTH.pack(len(one)) + one for one in tensor.values)


def to_json(tensor: Tensor) -> dict[str, Any]:
    """Return a tensor as JSON; bytes that are no text are base64, as its parameters say."""
    described = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    if isinstance(tensor.values, np.ndarray):
        return {**described, "data": tensor.values.reshape(-1).tolist()}
    try:
        return {**described, "data": [one.decode() for one in tensor.values]}
    except UnicodeDecodeError:
        texts = [base64.b64encode(one).decode() for one in tensor.values]
        return {**described, "parameters": {"content_type": "base64"}, "data": texts}


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    right = isinstance(shape, (list, tuple)) and 0 < len(shape) <= _MOST_DIMENSIONS
    if not right or not all(type(size) is int and 0 < size < 1 << 31 for size in shape):
        most = f"a list of 1 to {_MOST_DIMENSIONS} sizes"
        raise malformed(f"{name}: the shape is not {most}", "give the shape, as [1, 3, 224, 224]")
    return tuple(shape)


def _dtype(name: str, datatype: Any) -> np.dtype[Any]:
    if not isinstance(datatype, str) or datatype not in DTYPES:
        known = ", ".join([BYTES, *DTYPES])
        raise malformed(f"{name}: there is no datatype {datatype!r:.40}", f"known here: {known}")
    return DTYPES[datatype]


def _flat(name: str, data: Any, dimensions: int) -> list[Any]:
    """Return the values of lists in lists, whose lengths agree at each depth."""
    flat = data
    for _ in range(dimensions):
        if not isinstance(flat, list):
            raise malformed(f"{name}: its data are no list", _HINT)
        if set(map(type, flat)) != {list}:
            return flat
        if len(set(map(len, flat))) != 1:
            raise malformed(f"{name}: lists in its data have different lengths", _HINT)
        flat = list(chain.from_iterable(flat))
    return list(flat)


def _encoded(name: str, value: str | bytes) -> bytes:
    try:
        return value.encode() if isinstance(value, str) else value
    except UnicodeEncodeError:  # half of a pair of surrogates
        raise malformed(f"{name}: an element is not Unicode", _HINT) from None


def _elements(name: str, dims: tuple[int, ...], count: int, data: memoryview) -> list[bytes]:
    found: list[bytes] = []
    place = 0
    while place < len(data) and len(found) < count:
        start = place + _LENGTH.size
        if start > len(data):
            break
        place = start + _LENGTH.unpack_from(data, place)[0]
        if place > len(data):
            break
        found.append(bytes(data[start:place]))
    if len(found) != count or place != len(data):
        raise _size(name, dims, f"{len(data)} bytes with {len(found)} whole elements")
    return found


def _size(name: str, dims: tuple[int, ...], held: str) -> GatewayError:
    return malformed(f"{name}: {held} do not fill the shape {list(dims)}", _HINT)
