"""Archives as TorchServe's front end reads them, and archives made by hand."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

_LOCAL = struct.Struct("<4s5H3L2H")
_LISTED = struct.Struct("<4s6H3L5H2L")


def read_stream(data: bytes) -> dict[str, bytes]:
    """Return the files of a zip as Java's ZipInputStream does: no look at the directory.

    Raises ValueError where it throws. A later file of one name replaces an earlier one, on disk.
    """
    files, place = {}, 0
    while data[place : place + 4] == b"PK\x03\x04":
        if len(data) < place + _LOCAL.size:
            raise ValueError("cut off")
        _, _, flags, method, _, _, *sizes, name, extra = _LOCAL.unpack_from(data, place)
        place += _LOCAL.size
        called = data[place : place + name].decode()
        more = data[place + name : place + name + extra]
        place += name + extra
        if flags & 1 or method not in (0, 8) or (flags & 8 and method == 0):
            raise ValueError("encrypted, or unknown")
        crc, packed, size = sizes
        if not flags & 8:
            size, packed = _wide(more) or (size, packed)
        content, read = _stored(data, place, size) if method == 0 else _deflated(data, place)
        place += read
        if flags & 8:
            place += 4 if data[place : place + 4] == b"PK\x07\x08" else 0
            crc, packed, size = struct.unpack_from("<LLL", data.ljust(place + 12), place)
            place += 12
        if (size, packed, crc) != (len(content), read, zlib.crc32(content)):
            raise ValueError("another size or checksum")
        if not called.endswith("/"):
            files[str(Path(called))] = content
    return files


def _stored(data: bytes, place: int, size: int) -> tuple[bytes, int]:
    return data[place : place + size], size


def _deflated(data: bytes, place: int) -> tuple[bytes, int]:
    decoder = zlib.decompressobj(-15)
    try:
        content = decoder.decompress(data[place:])
    except zlib.error as error:
        raise ValueError("damaged") from error
    if not decoder.eof:
        raise ValueError("cut off")
    return content, len(data) - place - len(decoder.unused_data)


def _wide(extra: bytes) -> tuple[int, int] | None:
    """Return the sizes of a local header's zip64 field; the last one counts."""
    found = None
    while len(extra) >= 4:
        key, size = struct.unpack_from("<HH", extra)
        if key == 1 and size >= 16 and size + 4 <= len(extra):
            wide, packed = struct.unpack_from("<QQ", extra, 4)
            found = wide, packed
        extra = extra[4 + size :]
    return found


@dataclass(frozen=True)
class Member:
    """One entry as both headers describe it; `listed` holds what the directory says differently."""

    name: bytes
    content: bytes
    deflated: bool = False
    flags: int = 0x0800
    extra: bytes = b""
    size: int | None = None
    crc: int | None = None
    tail: bytes = b""  # after its bytes
    comment: bytes = b""
    mode: int = 0o100644
    shift: int = 0  # of the offset in the directory

    @property
    def packed(self) -> bytes:
        """Its bytes as they are stored."""
        return zlib.compress(self.content, 9)[2:-4] if self.deflated else self.content

    def _fields(self, *, streamed: bool) -> tuple[int, ...]:
        crc = zlib.crc32(self.content) if self.crc is None else self.crc
        size = len(self.content) if self.size is None else self.size
        sizes = (0, 0, 0) if streamed else (crc, len(self.packed), size)
        return (self.flags, 8 * self.deflated, 0, 33, *sizes, len(self.name), len(self.extra))

    @property
    def local(self) -> bytes:
        """The header before it, and its bytes."""
        streamed = bool(self.flags & 8)
        header = _LOCAL.pack(b"PK\x03\x04", 20, *self._fields(streamed=streamed))
        return header + self.name + self.extra + self.packed + self.tail

    def listed(self, offset: int) -> bytes:
        """Its line in the directory."""
        fields = self._fields(streamed=False)
        more = (len(self.comment), 0, 0, self.mode << 16, offset + self.shift)
        header = _LISTED.pack(b"PK\x01\x02", 20, 20, *fields, *more)
        return header + self.name + self.extra + self.comment


def descriptor(content: bytes, packed: int, signature: bytes = b"PK\x07\x08") -> bytes:
    """Return what follows a streamed entry."""
    return signature + struct.pack("<LLL", zlib.crc32(content), packed, len(content))


def streamed(name: bytes, content: bytes) -> Member:
    """Return an entry whose sizes follow it."""
    member = Member(name, content, deflated=True, flags=0x0808)
    return replace(member, tail=descriptor(content, len(member.packed)))


def write_zip(
    path: Path,
    stream: Sequence[Member | bytes],
    listed: Iterable[Member] | None = None,
    comment: bytes = b"",
) -> Path:
    """Write members and raw bytes, and a directory of `listed` (default: of all members)."""
    out = io.BytesIO()
    offsets: dict[bytes, int] = {}
    for one in stream:
        if isinstance(one, Member):
            offsets.setdefault(one.name, out.tell())
        out.write(one.local if isinstance(one, Member) else one)
    start = out.tell()
    lines = list(listed if listed is not None else [m for m in stream if isinstance(m, Member)])
    for one in lines:
        out.write(one.listed(offsets[one.name]))
    size = out.tell() - start
    out.write(
        struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *[len(lines)] * 2, size, start, len(comment))
    )
    path.write_bytes(out.getvalue() + comment)
    return path
