"""Files of PyTorch before 1.6: pickles, followed by the values of the tensors."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, BinaryIO

from marsmith.weights.pickle_reader import MOST_OPCODES, InertUnpickler
from marsmith.weights.tensors import Storage, big_endian, damaged

# The files begin with this magic number, pickled (torch/serialization.py).
_MAGIC = b"\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_COUNT = 8  # bytes before the values of a storage: how many there are


def is_torch_legacy(start: bytes) -> bool:
    """Return whether a file with these first 32 bytes is one."""
    return _MAGIC in start


def read_torch_legacy(path: Path, file: BinaryIO) -> tuple[Any, set[str]]:
    """Return the file's content, and the names of code that torch.load would import.

    The file's parts are magic number, protocol, system, object, keys of storages, and their values.
    Raises WeightsError, OSError.
    """
    storages: dict[str, Storage] = {}

    def load_storage(key: str, size: int) -> Storage:
        storage = storages.setdefault(key, Storage(path, 0, size))
        if storage.size < size:
            raise damaged()
        return storage

    parts = []
    foreign: set[str] = set()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        left = MOST_OPCODES
        for _ in range(5):
            unpickler = InertUnpickler(mapped, load_storage)
            unpickler.left = left
            parts.append(unpickler.read_object())
            foreign |= unpickler.foreign
            left = unpickler.left
        place, end = mapped.tell(), len(mapped)
    _, _, system, value, keys = parts
    if not isinstance(keys, list) or not isinstance(system, dict):
        raise damaged()
    if system.get("little_endian") is False:
        raise big_endian()
    for key in map(str, keys):
        if key in storages:
            storages[key].start = place + _COUNT
            place += _COUNT + storages[key].size
    if place > end or not storages.keys() <= set(map(str, keys)):
        raise damaged()
    return value, foreign
