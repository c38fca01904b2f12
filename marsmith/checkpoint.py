"""Files of weights: PyTorch's zip, its legacy pickle, TorchScript, safetensors. Nothing runs."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO

from marsmith.errors import WeightsError
from marsmith.inert_pickle import Inert, InertUnpickler
from marsmith.tensors import DTYPES, Storage, Tensor

_AGAIN = "copy it again, or save the state_dict again"
_ZIP_START = b"PK"
# With this magic number, pickled, files began before PyTorch 1.6 (torch/serialization.py).
_OLD_MAGIC = b"\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_MAX_HEADER = 100_000_000  # bytes, as the safetensors library has it
_DEPTH = 60


@dataclass(frozen=True)
class Checkpoint:
    """What a file of weights holds: dicts, lists, numbers, texts, tensors, and Inert objects."""

    path: Path
    kind: str
    value: Any
    foreign: frozenset[str] = field(default_factory=frozenset)  # code that loading would import

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """All tensors by their dotted place in the file."""
        return dict(_tensors(self.value, "", 0))

    @property
    def is_module(self) -> bool:
        """Whether it is a module with its code, not a state_dict or a dict that holds some."""
        return isinstance(self.value, Inert)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a file's structure; the values of its tensors stay in the file until they are asked for.

    Raises WeightsError for what is missing, cut off, damaged or nothing of the kind.
    """
    try:
        with path.open("rb") as file:
            start = file.read(32)
            file.seek(0)
            if not start:
                hint = "save the weights again: torch.save(model.state_dict(), FILE)"
                raise WeightsError("the file is empty", hint)
            if start.startswith(_ZIP_START):
                return _read_zip(path)
            if _OLD_MAGIC in start:
                return _read_legacy(path, file)
            if start[8:9] == b"{":
                return _read_safetensors(path, file)
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read: {error.strerror or error}", "name a file of weights"
        ) from error
    raise WeightsError(
        "the file is nothing that torch.save wrote", "name the file of the state_dict"
    )


def _read_zip(path: Path) -> Checkpoint:
    damaged = WeightsError("the file is cut off or damaged", _AGAIN)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {info.filename: info for info in archive.infolist()}
            names = [n for n in entries if n.endswith("/data.pkl") and n.count("/") == 1]
            if not names:
                raise WeightsError(
                    "the zip holds no weights", "name the file of the state_dict, not an archive"
                )
            root = names[0].removesuffix("data.pkl")

            def load_storage(key: str, size: int) -> Storage:
                info = entries[f"{root}data/{key}"]
                if info.file_size < size:
                    raise damaged
                return Storage(info.file_size, partial(_read_entry, path, info.filename))

            with archive.open(names[0]) as file:
                unpickler = InertUnpickler(file, load_storage)  # type: ignore[arg-type]
                value = unpickler.read()
    except (WeightsError, OSError):
        raise
    except Exception:  # zipfile raises whatever a damaged header leads it to
        raise damaged from None
    kind = "PyTorch zip"
    if f"{root}constants.pkl" in entries:
        kind = "TorchScript"
    return Checkpoint(path, kind, value, frozenset(unpickler.foreign))


def _read_entry(path: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(name)
    except Exception as error:  # as above
        raise WeightsError("the file is cut off or damaged", _AGAIN) from error


def _read_legacy(path: Path, file: BinaryIO) -> Checkpoint:
    """Read magic, protocol, system, the object, the storages' keys, and their values behind."""
    sizes: dict[str, int] = {}
    places: dict[str, int] = {}

    def load_storage(key: str, size: int) -> Storage:
        sizes[key] = size
        return Storage(size, lambda: _read_part(path, places[key], size))

    parts = []
    foreign: set[str] = set()
    for _ in range(5):
        unpickler = InertUnpickler(file, load_storage)
        parts.append(unpickler.read())
        foreign |= unpickler.foreign
    value, keys = parts[3], parts[4]
    end = path.stat().st_size
    place = file.tell()
    for key in keys if isinstance(keys, list) else []:
        places[str(key)] = place + 8  # behind the number of values
        place += 8 + sizes.get(str(key), 0)
    if place > end or not sizes.keys() <= places.keys():
        raise WeightsError("the file is cut off or damaged", _AGAIN)
    return Checkpoint(path, "PyTorch legacy pickle", value, frozenset(foreign))


def _read_part(path: Path, place: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(place)
        return file.read(size)


def _read_safetensors(path: Path, file: BinaryIO) -> Checkpoint:
    """Read safetensors: 8 bytes with the length of a JSON header, the header, the values."""
    damaged = WeightsError("the safetensors file is cut off or damaged", _AGAIN)
    length = int.from_bytes(file.read(8), "little")
    end = path.stat().st_size
    if length > min(_MAX_HEADER, end - 8):
        raise damaged
    dtypes = {name: dtype for dtype, (_, _, name) in DTYPES.items()}
    value: dict[str, Any] = {}
    try:
        header = json.loads(file.read(length))
        metadata = header.pop("__metadata__", None)
        for name, entry in header.items():
            start, stop = entry["data_offsets"]
            shape = tuple(map(int, entry["shape"]))
            stride = tuple(_product(shape[i + 1 :]) for i in range(len(shape)))
            first = 8 + length + start
            storage = Storage(stop - start, partial(_read_part, path, first, stop - start))
            tensor = Tensor(dtypes[entry["dtype"]], shape, storage, 0, stride)
            if not 0 <= start <= stop <= end - 8 - length or tensor.nbytes != stop - start:
                raise damaged
            value[name] = tensor
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise damaged from None
    if metadata:
        value["__metadata__"] = metadata
    return Checkpoint(path, "safetensors", value)


def _product(sizes: tuple[int, ...]) -> int:
    result = 1
    for size in sizes:
        result *= size
    return result


def _tensors(value: Any, place: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    """Yield all tensors with their dotted places; a module's are named as its state_dict would."""
    if isinstance(value, Tensor):
        yield place, value
    if depth > _DEPTH:
        return
    if isinstance(value, Inert):
        value = value.state
        if isinstance(value, dict) and "_modules" in value:
            value = {
                name: one
                for group in ("_parameters", "_buffers", "_modules")
                for name, one in (value.get(group) or {}).items()
            }
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _tensors(one, f"{place}.{key}" if place else str(key), depth + 1)
    elif isinstance(value, (list, tuple)):
        for index, one in enumerate(value):
            yield from _tensors(one, f"{place}.{index}" if place else str(index), depth + 1)
