"""The safetensors format: the length of a JSON header in 8 bytes, the header, the values."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from marsmith.core.errors import WeightsError
from marsmith.weights.dtypes import DTYPES
from marsmith.weights.pickle_names import shown
from marsmith.weights.tensors import Storage, Tensor, contiguous

_LENGTH = 8  # bytes of the header's length
_MAX_HEADER = 16_000_000  # bytes; that of a model with 100,000 tensors has half of it
_MOST_TENSORS = 100_000
_MOST_COMMAS = 1_000_000  # which bound the values of a header before it is read
_MOST_SIZES = 64  # of a shape, as torch has it
_METADATA = "__metadata__"
_DTYPES = {name: dtype for dtype, (_, _, name) in DTYPES.items() if name}


def is_safetensors(start: bytes) -> bool:
    """Return whether a file that starts like this is of this format."""
    return start[_LENGTH : _LENGTH + 1] == b"{"


def read_safetensors(path: Path, file: BinaryIO) -> dict[str, Any]:
    """Return the tensors by name, and `__metadata__` as it is. Raises WeightsError, OSError."""
    length = int.from_bytes(file.read(_LENGTH), "little")
    values = path.stat().st_size - _LENGTH - length
    if values < 0:
        raise _damaged()
    if length > _MAX_HEADER:
        raise _too_many(f"a header of {length:,} bytes")
    text = file.read(length)
    if (
        max(text.count(b"{"), text.count(b"[") // 2) > _MOST_TENSORS
        or text.count(b",") > _MOST_COMMAS
    ):
        raise _too_many("too many tensors")
    try:
        header = json.loads(text)
        metadata = {name: one for name, one in header.items() if name == _METADATA}
        entries = [one for one in header.items() if one[0] != _METADATA]
        entries.sort(key=lambda one: one[1]["data_offsets"])
        tensors, end = {}, 0
        for name, entry in entries:
            tensors[name] = _tensor(path, _LENGTH + length, name, entry, end)
            end += tensors[name].nbytes
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _damaged() from None
    if end != values:
        raise _damaged()
    return metadata | {name: tensors[name] for name in header if name != _METADATA}


def _tensor(path: Path, begin: int, name: str, entry: Any, end: int) -> Tensor:
    """Return a tensor whose values follow those of the one before, as the format demands."""
    start, stop = entry["data_offsets"]
    sizes = entry["shape"]
    if entry["dtype"] not in _DTYPES:
        raise WeightsError(
            f"{shown(name)!r} has the unknown dtype {shown(str(entry['dtype']))[:20]!r}",
            "save it with another dtype, such as float32",
            code="weights-dtype",
        )
    if len(sizes) > _MOST_SIZES:
        raise _too_many(f"a tensor of {len(sizes):,} dimensions")
    if start != end or any(type(one) is not int or one.bit_length() > 63 for one in sizes):
        raise _damaged()
    shape = tuple(sizes)
    storage = Storage(path, begin + start, stop - start)
    tensor = Tensor(_DTYPES[entry["dtype"]], shape, storage, 0, contiguous(shape))
    if tensor.nbytes != storage.size:
        raise _damaged()
    return tensor


def _damaged() -> WeightsError:
    return WeightsError(
        "the safetensors file is cut off or damaged", "copy it again", code="weights-damaged"
    )


def _too_many(what: str) -> WeightsError:
    return WeightsError(
        f"the safetensors file has {what}, and is not read",
        "save the state_dict alone, with safetensors.torch.save_file",
        code="weights-too-many-values",
    )


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
