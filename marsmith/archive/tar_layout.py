"""A gzipped tar that every reader reads alike.

The front end reads it with commons-compress, Marsmith with tarfile. They differ in links, in
several headers before one file, in old forms, and in what follows the end. None of it is needed.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from typing import Any

from marsmith.archive.open_file import AT_ONCE, OpenFile
from marsmith.archive.parts import (
    DamageError,
    Part,
    contradiction,
    decompressed,
    require_bounded,
    require_few,
)

_BLOCK = 512
_LARGEST_PADDING = 1 << 20  # bytes; tar fills up its last 10 KiB
_FORMAT, _PREFIX, _REST = slice(257, 263), slice(345, 500), slice(500, 512)
_LONG_NAME = (b"x", b"L")
_PLAIN_KEYS = {"path", "mtime", "atime", "ctime", "uid", "gid", "uname", "gname"}
_NEEDS_SIZE_KEY = 8 << 30  # bytes; smaller ones fit into the header


class _Guarded:
    """A stream for tarfile, which would read headers of any size into memory."""

    def __init__(self, file: OpenFile) -> None:
        self._stream = file.stream()
        self.seek, self.tell = self._stream.seek, self._stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= AT_ONCE:
            raise DamageError("a header is too large")
        return self._stream.read(size) or b""


def tar_parts(file: OpenFile) -> tuple[OpenFile, list[Part]]:
    """Return the unpacked tar and its parts, without the folder that holds them all.

    Raises ArchiveError for what readers take differently, DamageError if it is no such tar.
    """
    plain = OpenFile.holding(_gunzipped(file))
    parts: list[Part] = []
    end = 0
    guarded: Any = _Guarded(plain)
    try:
        with tarfile.open(fileobj=guarded, mode="r:", encoding="utf-8", errors="strict") as tar:
            for member in tar:
                require_few(len(parts) + 1)
                parts.append(_part(plain, member, end))
                end = member.offset_data + _blocks(member.size)
    except (tarfile.TarError, ValueError) as error:
        raise DamageError(str(error)) from error
    if plain.size - end > _LARGEST_PADDING or any(plain.at(end, plain.size - end)):
        raise contradiction("what follows its last file", "is not empty")
    return plain, list(_without_top(parts))


def _gunzipped(file: OpenFile) -> Iterator[bytes]:
    """Yield what the one member of a gzip holds; the front end reads no second one."""
    size, second = 0, contradiction("what follows its gzip", "is not empty")
    for piece in decompressed(file, 0, file.size, 16 + zlib.MAX_WBITS, second):
        size += len(piece)
        require_bounded(size, file.size)
        yield piece


def _part(plain: OpenFile, member: tarfile.TarInfo, end: int) -> Part:
    """Return a member's part. Raises ArchiveError if readers take it differently."""
    name = member.name
    header = plain.at(member.offset_data - _BLOCK, _BLOCK)
    if member.isfile() or member.isdir():
        if member.offset != end or not _one_name(plain, member):
            raise contradiction(name, "does not follow the file before it")
        if (header[_FORMAT] != b"ustar\0" and any(header[_PREFIX])) or any(header[_REST]):
            raise contradiction(name, "has a header of an old form")
        if _odd_keys(member) or (member.isdir() and member.size) or member.size < 0:
            raise contradiction(name, "has a header that readers understand differently")
    kind = "" if member.isreg() or member.isdir() else _kind(member)
    place = (member.offset_data, member.size)
    return Part(name, 0 if member.isdir() else member.size, kind, member.isdir(), *place)


def _one_name(plain: OpenFile, member: tarfile.TarInfo) -> bool:
    """Whether there is one header, or one more that holds a long name."""
    if member.offset == member.offset_data - _BLOCK:
        return True
    first = plain.at(member.offset, _BLOCK)
    size = tarfile.nti(first[124:136])  # type: ignore[attr-defined]
    follows = member.offset + _BLOCK + _blocks(size) == member.offset_data - _BLOCK
    return first[156:157] in _LONG_NAME and follows


def _odd_keys(member: tarfile.TarInfo) -> bool:
    keys = set(member.pax_headers) - _PLAIN_KEYS
    if member.size >= _NEEDS_SIZE_KEY:
        keys -= {"size"}
    is_folder_elsewhere = member.isreg() and member.pax_headers.get("path", "").endswith("/")
    return bool(keys) or is_folder_elsewhere or member.issparse()


def _kind(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return "a link"
    return "a named pipe" if member.isfifo() else "a device"


def _without_top(parts: list[Part]) -> Iterator[Part]:
    """Yield the parts with their names in the folder that holds them all.

    The front end takes what follows the first slash (ZipUtils.java).
    """
    tops = {part.name.partition("/")[0] for part in parts}
    if len(tops) > 1:
        raise contradiction(sorted(tops)[1], "is not in the one folder that holds the rest")
    for part in parts:
        top, _, name = part.name.partition("/")
        if name:
            yield Part(name, part.size, part.kind, part.folder, part.place, part.packed)
        elif not part.folder:
            raise contradiction(top, "is not in a folder, as TorchServe needs it")


def _blocks(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
