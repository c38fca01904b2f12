"""Write a state_dict without torch, as torch.save does."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from marsmith.weights.dtypes import DTYPES
from marsmith.weights.tensors import Storage, Tensor, contiguous

_ALIGNMENT = 64  # bytes; mapped values are read faster if they are aligned
_DATE = (1980, 1, 1, 0, 0, 0)  # the same state_dict gives the same bytes


def write_torch_zip(file: BinaryIO, tensors: Mapping[str, Tensor]) -> None:
    """Write what torch.save(state_dict) writes since PyTorch 1.6 (torch/serialization.py).

    Tensors under several names are written once. Raises OSError, WeightsError.
    """
    keys: dict[tuple[object, ...], str] = {}
    distinct: list[Tensor] = []
    for tensor in tensors.values():
        if tensor.view not in keys:
            keys[tensor.view] = str(len(distinct))
            distinct.append(tensor)
    _write(file, _pickled(tensors, keys), (tensor.chunks() for tensor in distinct))


def torch_tensor(shape: tuple[int, ...], values: bytes) -> bytes:
    """Return what torch.save(tensor) writes of float32 values, little-endian in C order."""
    storage = Storage(Path(), 0, len(values))
    tensor = Tensor("float32", shape, storage, 0, contiguous(shape))
    pickled = [pickle.PROTO, b"\x02", *_rebuilt(tensor, "0"), pickle.STOP]
    file = io.BytesIO()
    _write(file, b"".join(pickled), [[values]])
    return file.getvalue()


def _write(file: BinaryIO, pickled: bytes, storages: Iterable[Iterable[bytes]]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _store(archive, "data.pkl", [pickled])
        _store(archive, "byteorder", [b"little"])
        for key, chunks in enumerate(storages):
            _store(archive, f"data/{key}", chunks)
        _store(archive, "version", [b"3\n"])


def _store(archive: zipfile.ZipFile, name: str, chunks: Iterable[bytes]) -> None:
    info = zipfile.ZipInfo(f"archive/{name}", _DATE)
    info.create_system = 3  # Unix, on every platform
    info.external_attr = 0o644 << 16
    # The content follows 30 bytes, the name, these extra bytes, and 20 bytes with 64-bit sizes.
    padding = -(archive.start_dir + 30 + len(info.filename) + 4 + 20) % _ALIGNMENT
    info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    with archive.open(info, "w", force_zip64=True) as entry:
        for chunk in chunks:
            entry.write(chunk)


def _pickled(tensors: Mapping[str, Tensor], keys: Mapping[tuple[object, ...], str]) -> bytes:
    """Return the pickle, protocol 2, of OrderedDict(name=tensor) without the storages."""
    parts = [pickle.PROTO, b"\x02", *_empty_dict(), pickle.MARK]
    for name, tensor in tensors.items():
        parts += [_text(name), *_rebuilt(tensor, keys[tensor.view])]
    return b"".join([*parts, pickle.SETITEMS, pickle.STOP])


def _empty_dict() -> list[bytes]:
    return [_global("collections", "OrderedDict"), pickle.EMPTY_TUPLE, pickle.REDUCE]


def _rebuilt(tensor: Tensor, key: str) -> list[bytes]:
    """Return torch._utils._rebuild_tensor_v2(storage, 0, size, stride, False, OrderedDict())."""
    storage = DTYPES[tensor.dtype][0]
    typed = storage is not None
    stored = _global("torch", storage) if storage else _global("torch.storage", "UntypedStorage")
    location = [pickle.MARK, _text("storage"), stored, _text(key), _text("cpu")]
    location += [_integer(tensor.count if typed else tensor.nbytes), pickle.TUPLE, pickle.BINPERSID]
    shape, stride = _integers(tensor.shape), _integers(contiguous(tensor.shape))
    arguments = [*location, _integer(0), shape, stride, pickle.NEWFALSE, *_empty_dict()]
    arguments += [] if typed else [_global("torch", tensor.dtype)]
    function = _global("torch._utils", "_rebuild_tensor_v2" if typed else "_rebuild_tensor_v3")
    return [function, pickle.MARK, *arguments, pickle.TUPLE, pickle.REDUCE]


def _text(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogatepass")
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def _integer(value: int) -> bytes:
    encoded = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return pickle.LONG1 + bytes([len(encoded)]) + encoded


def _integers(values: tuple[int, ...]) -> bytes:
    return pickle.MARK + b"".join(map(_integer, values)) + pickle.TUPLE


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()
