"""PyTorch's files from before 1.6: pickles, and the tensors' values behind them."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, BinaryIO

from marsmith.core.errors import WeightsError
from marsmith.weights.pickle_reader import InertUnpickler
from marsmith.weights.tensors import Storage

# With this magic number, pickled, the files begin (torch/serialization.py).
_MAGIC = b"\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_COUNT = 8  # bytes of the number of values before them


def is_torch_legacy(start: bytes) -> bool:
    """Tell a file by its first 32 bytes."""
    return _MAGIC in start


def read_torch_legacy(path: Path, file: BinaryIO) -> tuple[Any, set[str]]:
    """Return what the file holds, and the names of code that loading would import.

    Its parts: magic, protocol, system, the object, the storages' keys, and their values.
    Raises WeightsError, OSError.
    """
    damaged = WeightsError(
        "the file is cut off or damaged", "copy it again, or save the state_dict again"
    )
    storages: dict[str, Storage] = {}

    def load_storage(key: str, size: int) -> Storage:
        storage = storages.setdefault(key, Storage(path, 0, size))
        if storage.size < size:
            raise damaged
        return storage

    parts = []
    foreign: set[str] = set()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        for _ in range(5):
            unpickler = InertUnpickler(mapped, load_storage)
            parts.append(unpickler.read_object())
            foreign |= unpickler.foreign
        place, end = mapped.tell(), len(mapped)
    _, _, system, value, keys = parts
    if not isinstance(keys, list) or not isinstance(system, dict):
        raise damaged
    if system.get("little_endian") is False:
        raise WeightsError(
            "its values are in the order of a big-endian machine",
            "save it again on a machine of the usual kind: torch.save(torch.load(FILE), FILE)",
        )
    for key in map(str, keys):
        if key in storages:
            storages[key].start = place + _COUNT
            place += _COUNT + storages[key].size
    if place > end or not storages.keys() <= set(map(str, keys)):
        raise damaged
    return value, foreign
