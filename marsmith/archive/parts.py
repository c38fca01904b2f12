"""Where the files of a packed archive are, and their bytes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from marsmith.archive.open_file import AT_ONCE, OpenFile
from marsmith.core.errors import ArchiveError

REBUILD = "do not use this archive; build it again from its sources"
AGAIN = "build the archive again, or copy it again"
MOST_ENTRIES = 20_000
_LARGE = 200 << 20  # bytes
_BOMB = 200  # times the packed size; weights seldom compress to a half


class DamageError(Exception):
    """A part is cut off, or not what its checksum says."""


@dataclass(frozen=True)
class Part:
    """One file or folder in an archive, and where its bytes are."""

    name: str
    size: int  # bytes
    kind: str = ""  # empty for a plain file or a folder, else "a link", "a device", …
    folder: bool = False
    place: int = 0
    packed: int = 0  # bytes, as they are stored
    deflated: bool = False
    crc: int | None = None


def contradiction(name: str, what: str) -> ArchiveError:
    """Return the error for an archive that two readers would read differently."""
    message = f"{name[:80]!r} {what}, so TorchServe would unpack other files than those listed"
    return ArchiveError(message, REBUILD, code="archive-contradicts-itself")


def require_few(count: int, most: int = MOST_ENTRIES) -> None:
    """Raise ArchiveError for more entries than a model needs."""
    if count > most:
        raise ArchiveError(
            f"it holds more than {most} entries",
            "pack many small files into one, and build the archive again",
            code="too-many-entries",
        )


def most_bytes(packed: int) -> int:
    """Return how large an archive of that size may be, unpacked."""
    return max(_LARGE, _BOMB * packed)


def require_bounded(size: int, packed: int) -> None:
    """Raise ArchiveError for an archive that is far larger unpacked."""
    if size > most_bytes(packed):
        times = size // max(packed, 1)
        message = f"unpacked it is {times} times as large: {size >> 20} MiB"
        raise ArchiveError(message, REBUILD, code="zip-bomb")


def inflated(file: OpenFile, place: int, packed: int) -> Iterator[bytes]:
    """Yield what a deflate stream holds. Raises DamageError unless it fills its place exactly."""
    short = DamageError("it ends too early")
    yield from decompressed(file, place, place + packed, -zlib.MAX_WBITS, short)


def decompressed(
    file: OpenFile, place: int, end: int, window: int, short: Exception
) -> Iterator[bytes]:
    """Yield what a stream of zlib's holds. Raises DamageError, and `short` if it ends before `end`.

    `window` tells deflate from gzip: zlib.decompressobj's wbits.
    """
    decoder = zlib.decompressobj(window)
    while not decoder.eof:
        raw = decoder.unconsumed_tail
        if not raw:
            raw = file.at(place, min(AT_ONCE, end - place))
            place += len(raw)
        try:
            piece = decoder.decompress(raw, AT_ONCE)
        except zlib.error as error:
            raise DamageError(str(error)) from error
        if not raw and not piece:
            raise DamageError("it is cut off")
        yield piece
    if decoder.unused_data or decoder.unconsumed_tail or place != end:
        raise short


def content(file: OpenFile, part: Part) -> Iterator[bytes]:
    """Yield the bytes of a part. Raises DamageError."""
    size, crc = 0, 0
    packed = inflated if part.deflated else OpenFile.pieces
    for piece in packed(file, part.place, part.packed):
        size += len(piece)
        crc = zlib.crc32(piece, crc)
        if size > part.size:
            break
        yield piece
    if size != part.size or part.crc not in (None, crc):
        raise DamageError("its size or checksum is another one")
