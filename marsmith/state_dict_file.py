"""Write a state_dict without torch: as torch.save does, or as safetensors."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Mapping
from typing import BinaryIO

from marsmith.errors import WeightsError
from marsmith.tensors import DTYPES, Tensor

_ALIGNMENT = 64  # bytes; so that mapped values begin where processors like them
_DATE = (1980, 1, 1, 0, 0, 0)  # the same state_dict, the same bytes


def write_torch_zip(file: BinaryIO, tensors: Mapping[str, Tensor]) -> None:
    """Write what torch.save(state_dict) writes since PyTorch 1.6 (torch/serialization.py).

    Tensors that are one and the same stay so. Raises OSError, WeightsError.
    """
    keys: dict[tuple[object, ...], str] = {}
    for tensor in tensors.values():
        keys.setdefault(tensor.view, str(len(keys)))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        _store(archive, "data.pkl", _pickled(tensors, keys))
        _store(archive, "byteorder", b"little")
        written: set[str] = set()
        for tensor in tensors.values():
            key = keys[tensor.view]
            if key not in written:
                written.add(key)
                _store(archive, f"data/{key}", tensor.read())
        _store(archive, "version", b"3\n")


def write_safetensors(file: BinaryIO, tensors: Mapping[str, Tensor]) -> None:
    """Write the safetensors format: length of the header, header as JSON, values."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        dtype, start = DTYPES[tensor.dtype][2], end
        if not dtype:
            raise WeightsError(
                f"safetensors has no {tensor.dtype}, and {name} is", "write a .pth instead"
            )
        end += tensor.nbytes
        header[name] = {
            "dtype": dtype,
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for tensor in tensors.values():
        file.write(tensor.read())


def _store(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(f"archive/{name}", _DATE)
    info.external_attr = 0o644 << 16
    # Behind 30 bytes of header and the name; 20 more where zip64 has to hold the size.
    start = archive.start_dir + 30 + len(info.filename) + (20 if len(content) >= 1 << 31 else 0)
    padding = -(start + 4) % _ALIGNMENT
    info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    archive.writestr(info, content)


def _pickled(tensors: Mapping[str, Tensor], keys: dict[tuple[object, ...], str]) -> bytes:
    """Return the pickle, protocol 2, of {name: tensor} with its storages outside."""
    parts = [pickle.PROTO, b"\x02", pickle.EMPTY_DICT, pickle.MARK]
    for name, tensor in tensors.items():
        parts += [_text(name), *_rebuilt(tensor, keys[tensor.view])]
    return b"".join([*parts, pickle.SETITEMS, pickle.STOP])


def _rebuilt(tensor: Tensor, key: str) -> list[bytes]:
    """Return torch._utils._rebuild_tensor_v2(storage, 0, size, stride, False, OrderedDict())."""
    storage = DTYPES[tensor.dtype][0]
    typed = storage is not None
    stored = _global("torch", storage) if storage else _global("torch.storage", "UntypedStorage")
    location = [pickle.MARK, _text("storage"), stored, _text(key), _text("cpu")]
    location += [_integer(tensor.count if typed else tensor.nbytes), pickle.TUPLE, pickle.BINPERSID]
    stride: list[int] = []
    expected = 1
    for size in reversed(tensor.shape):
        stride.insert(0, expected)
        expected *= size
    hooks = [_global("collections", "OrderedDict"), pickle.EMPTY_TUPLE, pickle.REDUCE]
    arguments = [*location, _integer(0), _integers(tensor.shape), _integers(stride)]
    arguments += [pickle.NEWFALSE, *hooks]
    arguments += [] if typed else [_global("torch", tensor.dtype)]
    function = _global("torch._utils", "_rebuild_tensor_v2" if typed else "_rebuild_tensor_v3")
    return [function, pickle.MARK, *arguments, pickle.TUPLE, pickle.REDUCE]


def _text(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogatepass")
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def _integer(value: int) -> bytes:
    encoded = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return pickle.LONG1 + bytes([len(encoded)]) + encoded


def _integers(values: tuple[int, ...] | list[int]) -> bytes:
    return pickle.MARK + b"".join(map(_integer, values)) + pickle.TUPLE


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()
