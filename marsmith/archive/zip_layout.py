"""A zip that every reader reads alike.

Java unpacks what comes in the stream: one local header after the other (ZipInputStream.java).
Python reads the directory at the end. A zip in which they differ shows one file to `check` and
another one to TorchServe, so it is refused. Format: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from marsmith.archive.open_file import OpenFile
from marsmith.archive.parts import (
    MOST_ENTRIES,
    DamageError,
    Part,
    contradiction,
    inflated,
    require_bounded,
    require_few,
)
from marsmith.core.errors import ArchiveError

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_LISTED = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
STORED, DEFLATED = 0, 8
ENCRYPTED, _STREAMED, _UTF8 = 0x0001, 0x0008, 0x0800
_LEVEL = 0x0006  # how well it was deflated; says nothing to a reader
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075  # extra fields
_LARGEST_DIRECTORY = 16 << 20  # bytes
_KINDS = {0: "", 0o100000: "", 0o040000: "", 0o120000: "a link", 0o010000: "a named pipe"}


@dataclass(frozen=True)
class Listed:
    """What the directory says of an entry; sizes are in bytes."""

    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    mode: int

    @property
    def name(self) -> str:
        """Its name; bytes that are not of its encoding are escaped."""
        return self.raw_name.decode("utf-8" if self.flags & _UTF8 else "ascii", "backslashreplace")


class ByPlace(Protocol):
    """What is read by place."""

    size: int  # bytes

    def at(self, place: int, size: int) -> bytes:
        """Return the bytes at a place; fewer at the end."""


def zip_parts(file: OpenFile) -> list[Part]:
    """Return the parts of a zip, as its directory lists them.

    Raises ArchiveError if any byte of it is neither of an entry nor of the directory, or if the
    headers before the entries differ from the directory; DamageError if it is no zip, or cut off.
    """
    listed, start = listed_in(file, MOST_ENTRIES)
    require_bounded(sum(one.size for one in listed), file.size)
    parts, place = {}, 0
    for one in sorted(listed, key=lambda one: one.offset):
        if one.offset != place:
            raise contradiction(one.name, "does not begin where the entry before it ends")
        parts[one.offset], place = _part(file, one)
    if place != start:
        raise contradiction("its directory", "does not begin where the last entry ends")
    return [parts[one.offset] for one in listed]


def listed_in(file: ByPlace, most: int) -> tuple[list[Listed], int]:
    """Return what the one directory of a zip lists, at most so much, and where it begins.

    Raises ArchiveError if readers could find another directory, DamageError if there is none.
    """
    count, start, size = _end(file)
    require_few(count, most)
    if size > _LARGEST_DIRECTORY:
        raise contradiction("its directory", "is far too large")
    return list(_directory(file.at(start, size), count)), start


def data_place(file: ByPlace, one: Listed) -> int:
    """Return where the bytes of an entry begin: behind its local header."""
    header = file.at(one.offset, _LOCAL.size)
    if len(header) < _LOCAL.size or header[:4] != b"PK\x03\x04":
        raise contradiction(one.name, "is not where the directory says")
    name, extra = struct.unpack_from("<HH", header, _LOCAL.size - 4)
    return int(one.offset + _LOCAL.size + name + extra)


def _end(file: ByPlace) -> tuple[int, int, int]:
    """Return how many entries the directory has, where it begins, and its size."""
    tail_place = max(0, file.size - _END.size - _MAX16)
    tail = file.at(tail_place, file.size - tail_place)
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or found + _END.size > len(tail):
        raise DamageError("it has no directory")
    place = tail_place + found
    _, disk, first, here, count, size, start, comment = _END.unpack_from(tail, found)
    follows = tail[found + _END.size :]
    if comment != len(follows) and start + size != place:
        raise DamageError("it is cut off, and the end is that of a zip within it")
    if comment != len(follows) or b"PK" in follows:
        raise contradiction("what follows its directory", "is not a comment")
    if disk or first or here != count:
        raise contradiction("its directory", "is of several disks")
    locator = file.at(place - _LOCATOR.size, _LOCATOR.size) if place >= _LOCATOR.size else b""
    if locator[:4] == b"PK\x06\x07":
        place, *wide = _end64(file, place, locator)
        narrow, limits = (count, size, start), (_MAX16, _MAX32, _MAX32)
        for short, full, limit in zip(narrow, wide, limits, strict=True):
            if short not in (full, limit):
                raise contradiction("its directory", "has two different places")
        count, size, start = wide
    if start + size != place:
        raise contradiction("its directory", "is not where the file says")
    return count, start, size


def _end64(file: ByPlace, end: int, locator: bytes) -> tuple[int, int, int, int]:
    """Return where the zip64 record begins; and the number, size and place of the directory."""
    place = end - _LOCATOR.size - _END64.size
    _, disk, found, disks = _LOCATOR.unpack(locator)
    record = file.at(place, _END64.size) if place >= 0 else b""
    if found != place or disk or disks != 1 or record[:4] != b"PK\x06\x06":
        raise contradiction("its directory", "has two different places")
    _, length, _, _, disk, first, here, count, size, start = _END64.unpack(record)
    if length != _END64.size - 12 or disk or first or here != count:
        raise contradiction("its directory", "is of several disks")
    return place, count, size, start


def _directory(data: bytes, count: int) -> Iterator[Listed]:
    place = 0
    for _ in range(count):
        if data[place : place + 4] != b"PK\x01\x02" or place + _LISTED.size > len(data):
            raise contradiction("its directory", "does not list what it counts")
        fields = _LISTED.unpack_from(data, place)
        _, _, _, flags, method, _, _, crc, packed, size, name, extra, comment, disk = fields[:14]
        mode, offset = fields[15:]
        place += _LISTED.size
        ends = [place + name, place + name + extra, place + name + extra + comment]
        raw, more = data[place : ends[0]], data[ends[0] : ends[1]]
        one = Listed(raw, flags, method, crc, packed, size, offset, mode >> 16)
        if ends[2] > len(data) or disk or b"PK" in data[ends[1] : ends[2]]:
            raise contradiction(one.name, "has a comment that hides data")
        place = ends[2]
        yield _widened(one, _extra(one, more))
    if place != len(data):
        raise contradiction("its directory", "lists more than it counts")


def _widened(one: Listed, extra: dict[int, bytes]) -> Listed:
    """Return an entry with the values that need 64 bits."""
    narrow = {"size": one.size, "packed": one.packed, "offset": one.offset}
    names = [name for name, value in narrow.items() if value == _MAX32]
    data = extra.get(_ZIP64, b"")
    if not names or not data:
        return one
    if len(data) < 8 * len(names):
        raise contradiction(one.name, "has no complete size")
    values = struct.unpack_from(f"<{len(names)}Q", data)
    return replace(one, **dict(zip(names, values, strict=True)))


def _extra(one: Listed, data: bytes) -> dict[int, bytes]:
    """Return the extra fields of a header."""
    found: dict[int, bytes] = {}
    while len(data) >= 4:
        key, size = struct.unpack_from("<HH", data)
        if size > len(data) - 4 or (key and key in found):
            raise contradiction(one.name, "has fields that cannot be read")
        found[key] = data[4 : 4 + size]
        data = data[4 + size :]
    if data.strip(b"\0") or found.get(_UNICODE_PATH, b"")[5:] not in (b"", one.raw_name):
        raise contradiction(one.name, "has a second name")
    return found


def _part(file: OpenFile, one: Listed) -> tuple[Part, int]:
    """Return an entry's part, and where the next entry must begin."""
    place = data_place(file, one)
    header = _LOCAL.unpack(file.at(one.offset, _LOCAL.size))
    _, _, flags, method, _, _, crc, packed, size, name, extra = header
    more = file.at(one.offset + _LOCAL.size, name + extra)
    if (flags, method, more[:name]) != (one.flags, one.method, one.raw_name):
        raise contradiction(one.name, "has another name or form in the directory")
    _require_plain(one)
    wide = _extra(one, more[name:]).get(_ZIP64, b"")
    _require_same_sizes(one, (crc, packed, size), wide)
    end = place + one.packed
    if one.flags & _STREAMED:
        end = _after_descriptor(file, one, place)
    kind = _KINDS.get(one.mode & 0o170000, "a device")
    folder = one.name.endswith("/")
    if folder and one.size:
        raise contradiction(one.name, "is a folder with bytes of its own")
    where = (place, one.packed, one.method == DEFLATED, one.crc)
    return Part(one.name.removesuffix("/"), one.size, kind, folder, *where), end


def _require_plain(one: Listed) -> None:
    """Raise ArchiveError unless both readers can read the name and the bytes of an entry."""
    if one.flags & ENCRYPTED or one.method not in (STORED, DEFLATED):
        how = "encrypted" if one.flags & ENCRYPTED else f"compressed with method {one.method}"
        hint = "build it again without a password, with zip's methods deflate or stored"
        raise ArchiveError(f"{one.name!r} is {how}", hint, code="archive-compression")
    if one.flags & ~(_STREAMED | _UTF8 | _LEVEL):
        raise contradiction(one.name, "has flags that readers understand differently")
    try:
        one.raw_name.decode("utf-8" if one.flags & _UTF8 else "ascii")
    except UnicodeDecodeError as error:
        raise contradiction(one.name, "has a name without its encoding") from error
    if one.method == STORED and (one.flags & _STREAMED or one.packed != one.size):
        raise contradiction(one.name, "is stored without its size")


def _require_same_sizes(one: Listed, local: tuple[int, int, int], wide: bytes) -> None:
    """Raise ArchiveError unless the local header has the sizes of the directory."""
    crc, packed, size = local
    streamed = one.flags & _STREAMED
    known = {0, one.crc} if streamed else {one.crc}
    full = struct.unpack_from("<QQ", wide) if len(wide) >= 16 else None
    for short, value, i in ((size, one.size, 0), (packed, one.packed, 1)):
        allowed = {value, 0} if streamed else {value}
        is_elsewhere = full is not None and short == _MAX32
        if (full and full[i] not in allowed) or not (short in allowed or is_elsewhere):
            raise contradiction(one.name, "has another size in the directory")
    if crc not in known:
        raise contradiction(one.name, "has another checksum in the directory")


def _after_descriptor(file: OpenFile, one: Listed, place: int) -> int:
    """Return where a streamed entry ends: Java finds that by its deflate stream alone."""
    size, crc = 0, 0
    for piece in inflated(file, place, one.packed):
        size, crc = size + len(piece), zlib.crc32(piece, crc)
        if size > one.size:
            break
    form = "<LQQ" if max(one.size, one.packed) > _MAX32 else "<LLL"
    end = place + one.packed
    end += 4 if file.at(end, 4) == b"PK\x07\x08" else 0
    data = file.at(end, struct.calcsize(form))
    said = struct.unpack(form, data) if len(data) == struct.calcsize(form) else None
    if (crc, size) != (one.crc, one.size) or said != (one.crc, one.packed, one.size):
        raise contradiction(one.name, "has another size or checksum after its bytes")
    return end + len(data)
