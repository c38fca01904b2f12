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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from marsmith.archive.parts import DamageError
from marsmith.archive.zip_layout import DEFLATED, ENCRYPTED, STORED, Listed, data_place, listed_in
from marsmith.core.errors import ArchiveError
from marsmith.weights.file_window import window
from marsmith.weights.pickle_reader import MOST_OPCODES

_IN_MEMORY = 1 << 20  # bytes of a small file
_UNPACKED = 1 << 28  # bytes that may be unpacked in any case,
_GROWN = 20  # and this often the size of the archive
_MOST_MEMBERS = 100_000
_PIECE = 1 << 12  # bytes
_TAIL = 22 + (1 << 16)  # bytes in which a zip's last record lies
_DIRECTORY = 20 << 20  # bytes of a zip's directory
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
        files = [path] if path.is_file() else path.rglob("*")
        size = sum(one.lstat().st_size for one in files)
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
        yield Member("", _copy(_decompressed(unpack(file)), budget))
    elif start[:1] == b"\x78":
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        yield Member("", _copy(_inflated(file, size, zlib.MAX_WBITS), budget))
    if listed := _listed(file, start):
        yield from _in_zip(file, listed, budget)
    elif _is_tar(start):
        yield from _in_tar(file)


def _behind_numpy_header(file: BinaryIO, start: bytes) -> BinaryIO:
    """Return what follows a .npy's header: raw values, or a pickle."""
    size = 2 if start[6:7] == b"\x01" else 4
    begin = 8 + size + int.from_bytes(start[8 : 8 + size], "little")
    return window(file, begin, max(0, file.seek(0, io.SEEK_END) - begin))


def _inflated(file: BinaryIO, size: int, window_bits: int) -> Iterator[bytes]:
    """Yield what a deflate stream of so many bytes holds until it is damaged."""
    decoder = zlib.decompressobj(window_bits)
    # In small pieces: a reader in pieces has run a pickle before it sees the damage behind it.
    while not decoder.eof and (packed := decoder.unconsumed_tail or file.read(min(size, _PIECE))):
        size -= 0 if decoder.unconsumed_tail else len(packed)
        try:
            yield decoder.decompress(packed, _PIECE * _GROWN)
        except zlib.error:
            return


def _decompressed(stream: Any) -> Iterator[bytes]:
    """Yield what a stream of a decompressor holds until it is damaged."""
    with suppress(*_DAMAGE):
        while piece := stream.read1(_PIECE):
            yield piece


def _copy(pieces: Iterator[bytes], budget: Budget) -> BinaryIO:
    """Return a file that can be searched, made of pieces."""
    target: BinaryIO = io.BytesIO()
    for piece in pieces:
        budget.unpack(len(piece))
        if isinstance(target, io.BytesIO) and target.tell() + len(piece) > _IN_MEMORY:
            small, target = target, cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
            target.write(small.getvalue())
        target.write(piece)
    target.seek(0)
    return target


class _ByPlace:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, io.SEEK_END)

    def at(self, place: int, size: int) -> bytes:
        self._file.seek(place)
        return self._file.read(size)


def _listed(file: BinaryIO, start: bytes) -> list[Listed]:
    """Return the entries of a zip; none if no reader finds a directory. Raises UnsearchableError.

    PyTorch and Python find the directory in different ways, so there must be one way only. A zip
    behind other bytes is one to Python alone.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _TAIL))
    if b"PK\x05\x06" not in file.read():
        return []
    try:
        if start.startswith(b"PK"):
            return listed_in(_ByPlace(file), _MOST_MEMBERS)[0]
        found = zipfile._EndRecData(file)  # type: ignore[attr-defined]
        if found and found[5] > _DIRECTORY:
            raise UnsearchableError("it is a zip of too many files to be searched")
        with zipfile.ZipFile(file) as archive:
            return [_as_listed(one) for one in archive.infolist()]
    except (ArchiveError, DamageError) as error:
        raise UnsearchableError(f"it is a zip that not all readers read alike: {error}") from error
    except (*_DAMAGE, NotImplementedError):
        return []


def _as_listed(one: zipfile.ZipInfo) -> Listed:
    sizes = (one.CRC, one.compress_size, one.file_size, one.header_offset)
    return Listed(one.filename.encode(), one.flag_bits, one.compress_type, *sizes, mode=0)


def _in_zip(file: BinaryIO, listed: list[Listed], budget: Budget) -> Iterator[Member]:
    for one in listed:
        if one.name.endswith("/") and not one.size:
            continue
        if one.flags & ENCRYPTED:
            raise UnsearchableError(f"{one.name} is encrypted")
        try:
            start = data_place(_ByPlace(file), one)
        except ArchiveError as error:
            raise UnsearchableError(str(error)) from error
        if one.method == STORED:
            yield Member(one.name, window(file, start, max(one.size, one.packed)))
        elif one.method == DEFLATED:
            file.seek(start)
            with _copy(_inflated(file, one.packed, -zlib.MAX_WBITS), budget) as copy:
                yield Member(one.name, copy)
        else:
            raise UnsearchableError(f"{one.name} is compressed in another way than deflate")


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
