"""Files of torch.save since PyTorch 1.6: a zip of a pickle and the values of tensors."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from marsmith.core.errors import WeightsError
from marsmith.weights.pickle_reader import InertUnpickler
from marsmith.weights.tensors import Storage, big_endian, damaged

_HEADER = 30  # bytes of an entry's header before its name


def read_torch_zip(path: Path, file: BinaryIO) -> tuple[str, Any, set[str]]:
    """Return the file's kind, content, and the names of code that torch.load would import.

    Raises WeightsError, OSError.
    """
    try:
        return _read(path, file)
    except (WeightsError, OSError):
        raise
    except Exception as error:  # zipfile can raise anything for a damaged header
        raise damaged() from error


def _read(path: Path, file: BinaryIO) -> tuple[str, Any, set[str]]:
    with zipfile.ZipFile(file) as archive:
        entries = {info.filename: info for info in archive.infolist()}
    names = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if not names and entries and all(name.endswith(".npy") for name in entries):
        raise WeightsError(
            "it holds arrays of NumPy (.npz), which PyTorch does not load",
            "make a state_dict of them: torch.save({name: torch.from_numpy(array) for name, array "
            f"in numpy.load({str(path)!r}).items()}}, 'state_dict.pth')",
            code="weights-format",
        )
    if not names:
        raise WeightsError(
            "the zip holds no weights",
            "name the file that holds the state_dict, not an archive",
            code="weights-format",
        )
    root = names[0].removesuffix("data.pkl")
    storages: dict[str, Storage] = {}

    def content(name: str) -> bytes:
        entry = storage_of(path, file, entries[root + name])
        return entry.read(0, entry.size)

    def load_storage(key: str, size: int) -> Storage:
        if key not in storages:
            storages[key] = storage_of(path, file, entries[f"{root}data/{key}"])
        if storages[key].size < size:
            raise damaged()
        return storages[key]

    if f"{root}byteorder" in entries and content("byteorder") != b"little":
        raise big_endian()
    unpickler = InertUnpickler(io.BytesIO(content("data.pkl")), load_storage)
    value = unpickler.read_object()
    scripted = f"{root}constants.pkl" in entries
    return "TorchScript" if scripted else "PyTorch zip", value, unpickler.foreign


def storage_of(path: Path, file: BinaryIO, info: zipfile.ZipInfo) -> Storage:
    """Return the storage of an entry's content. Raises WeightsError if it is not all there."""
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise WeightsError(
            "the zip is compressed, which torch.save never does",
            "use the file as torch.save wrote it, or save it again: "
            "torch.save(torch.load(FILE), FILE)",
            code="weights-compressed",
        )
    file.seek(info.header_offset)
    header = file.read(_HEADER)
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    start = info.header_offset + _HEADER + lengths
    end = file.seek(0, io.SEEK_END)
    if not header.startswith(b"PK\3\4") or start + info.file_size > end:
        raise damaged()
    return Storage(path, start, info.file_size, info.CRC)
