"""Open the files within a file: of a zip, a tar or a compressed file, known by their content."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from marsmith.weights.file_window import window
from marsmith.weights.pickle_reader import MOST_OPCODES

_IN_MEMORY = 1 << 20  # bytes of a small file
_UNPACKED = 1 << 28  # bytes that may be unpacked in any case,
_GROWN = 20  # and this often the size of the archive
_MOST_MEMBERS = 100_000
_DIRECTORY = 20 << 20  # bytes of a zip's directory
_LOCAL_HEADER = 30  # bytes of a zip's entry before its name
_NUMPY = b"\x93NUMPY"
_COMPRESSED: tuple[tuple[bytes, Callable[[Any], Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ", lzma.open),
    (b"\x5d\x00\x00", lzma.open),
)
_UNKNOWN = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "rar",
}
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, ValueError)


class UnsearchableError(Exception):
    """What a file holds cannot be searched; the text says why."""


class Budget:
    """What the search of one archive may take."""

    def __init__(self, path: Path) -> None:
        size = path.stat().st_size if path.is_file() else 0
        self.unpacked = _UNPACKED + _GROWN * size  # bytes
        self.opcodes = MOST_OPCODES
        self.members = _MOST_MEMBERS

    def unpack(self, size: int) -> None:
        """Count bytes that were unpacked. Raises UnsearchableError if they are too many."""
        self.unpacked -= size
        if self.unpacked < 0:
            raise UnsearchableError("unpacked, it is too large to be searched")


@dataclass(frozen=True)
class Member:
    """A file within another; its name is "" for what a compressed file holds."""

    name: str
    file: BinaryIO


def members(file: BinaryIO, budget: Budget) -> Iterator[Member]:
    """Yield the files within a file; none if it is neither archive nor compressed.

    A damaged file is read as far as possible. Raises UnsearchableError.
    """
    file.seek(0)
    start = file.read(512)
    for one in _members(file, start, budget):
        budget.members -= 1
        if budget.members < 0:
            raise UnsearchableError(f"it holds more than {_MOST_MEMBERS:,} files")
        yield one


def _members(file: BinaryIO, start: bytes, budget: Budget) -> Iterator[Member]:
    if name := next((name for magic, name in _UNKNOWN.items() if start.startswith(magic)), None):
        raise UnsearchableError(f"it is compressed with {name}, which cannot be searched")
    if start.startswith(_NUMPY):
        yield Member("", _behind_numpy_header(file, start))
    unpack = next((unpack for magic, unpack in _COMPRESSED if start.startswith(magic)), None)
    if unpack:
        file.seek(0)
        yield Member("", _copy(unpack(file), budget))
    elif start[:1] == b"\x78":
        file.seek(0)
        yield Member("", _copy(_Inflated(file), budget))
    file.seek(0)
    if _is_zip(file):
        yield from _in_zip(file, budget)
    elif _is_tar(start):
        yield from _in_tar(file)


def _behind_numpy_header(file: BinaryIO, start: bytes) -> BinaryIO:
    """Return what follows a .npy's header: raw values, or a pickle."""
    size = 2 if start[6:7] == b"\x01" else 4
    begin = 8 + size + int.from_bytes(start[8 : 8 + size], "little")
    return window(file, begin, max(0, file.seek(0, io.SEEK_END) - begin))


class _Inflated:
    """Reads zlib's format."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._inflate = file, zlib.decompressobj()

    def read(self, size: int) -> bytes:
        """Return at most so many bytes."""
        data = b""
        while not data and not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._file.read(size)
            data = self._inflate.decompress(packed, size)
            if not packed:
                break
        return data


def _copy(stream: Any, budget: Budget) -> BinaryIO:
    """Return a file that can be searched with what a stream yields until it is damaged."""
    target: BinaryIO = io.BytesIO()
    while piece := _piece(stream):
        budget.unpack(len(piece))
        if isinstance(target, io.BytesIO) and target.tell() + len(piece) > _IN_MEMORY:
            small, target = target, cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
            target.write(small.getvalue())
        target.write(piece)
    target.seek(0)
    return target


def _piece(stream: Any) -> bytes:
    try:
        return cast(bytes, stream.read(_IN_MEMORY // 4))
    except _DAMAGE:
        return b""  # whoever unpacks it fails at the same place


def _is_zip(file: BinaryIO) -> bool:
    """Return whether a zip's directory is at the end. Raises UnsearchableError if it is huge."""
    found = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if found and found[5] > _DIRECTORY:
        raise UnsearchableError("it is a zip of too many files to be searched")
    return bool(found)


def _in_zip(file: BinaryIO, budget: Budget) -> Iterator[Member]:
    try:
        archive = zipfile.ZipFile(file)
    except (*_DAMAGE, NotImplementedError):
        return
    for entry in archive.infolist():
        if entry.is_dir() and not entry.file_size:
            continue
        if entry.flag_bits & 1:
            raise UnsearchableError(f"{entry.filename} is encrypted")
        if entry.compress_type == zipfile.ZIP_STORED:
            yield Member(entry.filename, _stored(file, entry))
            continue
        try:
            stream = archive.open(entry)
        except NotImplementedError:
            raise UnsearchableError(f"{entry.filename} is compressed in an unknown way") from None
        except _DAMAGE:
            continue
        with _copy(stream, budget) as copy:
            yield Member(entry.filename, copy)


def _stored(file: BinaryIO, entry: zipfile.ZipInfo) -> BinaryIO:
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER)
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    start = entry.header_offset + _LOCAL_HEADER + lengths
    return window(file, start, max(entry.file_size, entry.compress_size))


def _is_tar(start: bytes) -> bool:
    """Return whether a file begins with a tar's header, which has a checksum."""
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def _in_tar(file: BinaryIO) -> Iterator[Member]:
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                if member.issparse():
                    raise UnsearchableError(f"{member.name} is a sparse file")
                if member.isreg():
                    yield Member(member.name, window(file, member.offset_data, member.size))
    except (tarfile.TarError, *_DAMAGE):
        return
