"""The safetensors format: the length of a JSON header in 8 bytes, the header, the values."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from marsmith.core.errors import WeightsError
from marsmith.weights.dtypes import DTYPES
from marsmith.weights.tensors import Storage, Tensor, contiguous

_LENGTH = 8  # bytes of the header's length
_MAX_HEADER = 100_000_000  # bytes, the limit of the safetensors library
_METADATA = "__metadata__"
_DTYPES = {name: dtype for dtype, (_, _, name) in DTYPES.items() if name}


def is_safetensors(start: bytes) -> bool:
    """Return whether a file that starts like this is of this format."""
    return start[_LENGTH : _LENGTH + 1] == b"{"


def read_safetensors(path: Path, file: BinaryIO) -> dict[str, Any]:
    """Return the tensors by name, and `__metadata__` as it is. Raises WeightsError, OSError."""
    damaged = WeightsError(
        "the safetensors file is cut off or damaged", "copy it again", code="weights-damaged"
    )
    length = int.from_bytes(file.read(_LENGTH), "little")
    values = path.stat().st_size - _LENGTH - length
    if length > _MAX_HEADER or values < 0:
        raise damaged
    try:
        header = json.loads(file.read(length))
        result: dict[str, Any] = {}
        for name, entry in header.items():
            if name == _METADATA:
                result[name] = entry
                continue
            start, stop = entry["data_offsets"]
            shape = tuple(map(int, entry["shape"]))
            if entry["dtype"] not in _DTYPES:
                raise WeightsError(
                    f"{name!r} has the unknown dtype {str(entry['dtype'])[:20]!r}",
                    "save it with another dtype, such as float32",
                    code="weights-dtype",
                )
            if not 0 <= start <= stop <= values:
                raise damaged
            storage = Storage(path, _LENGTH + length + start, stop - start)
            tensor = Tensor(_DTYPES[entry["dtype"]], shape, storage, 0, contiguous(shape))
            if tensor.nbytes != storage.size:
                raise damaged
            result[name] = tensor
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise damaged from None
    return result


def write_safetensors(file: BinaryIO, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors in their order. Raises OSError, WeightsError."""
    header: dict[str, object] = {_METADATA: {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        dtype, start = DTYPES[tensor.dtype][2], end
        if not dtype or name == _METADATA:
            what = "name" if dtype else f"dtype {tensor.dtype}"
            raise WeightsError(
                f"safetensors does not allow the {what} of {name!r}",
                "write a .pth file: --out NAME.pth",
                code="weights-dtype",
            )
        end += tensor.nbytes
        header[name] = {"dtype": dtype, "shape": tensor.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for tensor in tensors.values():
        for chunk in tensor.chunks():
            file.write(chunk)
