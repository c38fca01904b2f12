"""What a picture costs to decode, counted before it is decoded.

A small file can be made to take minutes, or gigabytes: a JPEG of thousands of scans, a TIFF whose
values repeat the same bytes, a comment that is joined piece by piece. Decoders bound none of that.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from marsmith_handlers.av1_size import coded_pixels
from marsmith_handlers.image_request import RequestError

_MOST_PARTS = 65_536  # segments, chunks, blocks, strips; a photo has thousands at most
_MOST_COMMENT = 1 << 20  # bytes; Pillow joins its blocks anew for each one
_MOST_DIGITS = 4 << 20  # bytes of numbers as text, each of which Pillow reads in Python
_CODED_TIMES = (
    4  # an AVIF's pixels, its transparency, both again as a track or of a size rounded up
)
_LEAST_SCAN = 4096  # pixels: what a scan costs in any case, to set up its tables
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # the next marker that is none of a scan's own
_ALONE = {0x01, 0xD8, *range(0xD0, 0xD8)}  # markers without a length
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SCAN, _END, _BASELINE = 0xDA, 0xD9, 0xC1
# Bytes per value of a TIFF's types, from 1 on.
_SIZES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8)
_STRIPS, _TILES, _ROWS, _TILE_WIDTH, _TILE_HEIGHT, _WIDTH = 273, 324, 278, 322, 323, 256
_KEPT_TEXT = (b"Raw profile type ", b"XML:com.adobe.xmp")  # may say how the picture lies
_PNG = b"\x89PNG\r\n\x1a\n"
_TOO_MANY = RequestError(
    413, "too_many_parts", "the image has too many parts", "save it anew, and send that"
)


class Scans(NamedTuple):
    """What a file makes its decoder go over, where its size may hide that."""

    pixels: int  # of all scans of a JPEG; 0 for other kinds
    lacks_end_mark: bool = False  # it is a JPEG of one pass that ends without its end mark


def decoded(body: bytes, max_scans: int) -> Scans:
    """Return the pixels that count for a file, where its size may hide them: some scans are free.

    Raises RequestError (413) for files that cannot be opened cheaply, whatever their size.
    """
    if body[4:8] != b"ftyp":
        found = scans(body)
        return found._replace(pixels=found.pixels // max_scans)
    try:
        return Scans(coded_pixels(body, _MOST_PARTS) // _CODED_TIMES)
    except ValueError:
        raise _TOO_MANY from None


def scans(body: bytes) -> Scans:
    """Read how often a decoder goes over a file's pixels.

    Raises RequestError (413) for files that cannot be opened cheaply, whatever their size.
    """
    if body.startswith(b"\xff\xd8"):
        return _jpeg(body)
    if body[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return Scans(_tiff(body))
    if body[:6] in (b"GIF87a", b"GIF89a"):
        _require_small_comments(body)
    elif re.match(rb"P[1-6]\s", body):
        _require_cheap_ppm(body)
    return Scans(0)


def without_text(body: bytes) -> bytes:
    """Return a PNG without texts and colour profile, which cost much and change no pixel."""
    if not body.startswith(_PNG):
        return body
    parts, dropped = [_PNG], False
    for name, start, end in _chunks(body):
        if name in (b"tEXt", b"zTXt", b"iTXt", b"iCCP") and not body.startswith(
            _KEPT_TEXT, start + 8
        ):
            dropped = True
        else:
            parts.append(body[start:end])
    return b"".join(parts) if dropped else body


def ifd_fits(data: bytes) -> bool:
    """Whether the values that a TIFF or EXIF's first directory names fit into it.

    Pillow copies each value: 65,535 of them could name the same bytes.
    """
    data = data.removeprefix(b"Exif\0\0")
    return sum(size for _, size, _ in _entries(data)) <= len(data)


def _chunks(body: bytes) -> Iterator[tuple[bytes, int, int]]:
    start, parts = len(_PNG), 0
    while start < len(body):
        parts += 1
        if parts > _MOST_PARTS:
            raise _TOO_MANY
        end = start + 12 + int.from_bytes(body[start : start + 4], "big")
        yield body[start + 4 : start + 8], start, end
        start = end


def _jpeg(body: bytes) -> Scans:
    place, parts, pixels, scanned, baseline = 2, 0, 0, 0, False
    while (found := _SCAN_END.search(body, place)) is not None:
        parts += 1
        if parts > _MOST_PARTS:
            raise _TOO_MANY
        marker, place = body[found.end() - 1], found.end()
        if marker == _END:
            return Scans(scanned)
        if marker in _ALONE:
            continue
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", body[place + 3 : place + 7].ljust(4, b"\0"))
            pixels, baseline = max(pixels, height * width), marker <= _BASELINE
        if marker == _SCAN:
            scanned += max(pixels, _LEAST_SCAN)
        place += int.from_bytes(body[place : place + 2], "big")
    return Scans(scanned, baseline and scanned > 0)


def _entries(data: bytes) -> Iterator[tuple[int, int, list[int]]]:
    """Yield tag, size in bytes and the first number of each value of the first directory."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    try:
        (place,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, place)
        form = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
        if count > _MOST_PARTS:
            raise _TOO_MANY
        for index in range(count):
            start = place + (8 if big else 2) + index * form.size
            tag, kind, number, value = form.unpack_from(data, start)
            size = number * (_SIZES[kind] if kind < len(_SIZES) else 0)
            short = {3: "H", 4: "I", 16: "Q"}.get(kind)
            first = struct.unpack_from(order + short, value) if short and size <= len(value) else ()
            yield tag, size, [number, *first]
    except struct.error:
        return  # cut off: Pillow says so


def _tiff(body: bytes) -> int:
    if not ifd_fits(body):
        raise _TOO_MANY
    found = {tag: numbers for tag, _, numbers in _entries(body)}
    if max(found.get(_STRIPS, [0])[0], found.get(_TILES, [0])[0]) > _MOST_PARTS:
        raise _TOO_MANY
    # JPEGs may lie in it, one for each strip or tile, and each may have many scans.
    width = found.get(_TILE_WIDTH, found.get(_WIDTH, [0]))[-1]
    height = found.get(_TILE_HEIGHT, found.get(_ROWS, [0]))[-1]
    jpegs = body.count(b"\xff\xda") if body.count(b"\xff\xd8") else 0
    return jpegs * min(width * height, 1 << 32)


def _require_small_comments(body: bytes) -> None:
    """Walk over what stands before a GIF's first frame (GIF89a, 24)."""
    packed = body[10] if len(body) > 10 else 0
    place, parts, comments = 13 + (3 << (packed & 7) + 1 if packed & 0x80 else 0), 0, 0
    while body[place : place + 1] == b"!":
        is_comment = body[place + 1 : place + 2] == b"\xfe"
        place += 2
        while place < len(body) and (size := body[place]):
            parts, place = parts + 1, place + 1 + size
            comments += size * is_comment
            if parts > _MOST_PARTS or comments > _MOST_COMMENT:
                raise _TOO_MANY
        place += 1


def _require_cheap_ppm(body: bytes) -> None:
    if body[1:2] in b"123" and len(body) > _MOST_DIGITS:
        hint = "send it as PNG, or as a binary PPM"
        raise RequestError(413, "too_many_parts", "the image is too much text", hint)
    words = re.sub(rb"#[^\r\n]*", b"", body[:4096]).split()
    if len(body) > 4096 and len(words) < 4:  # Pillow reads comments byte by byte
        raise _TOO_MANY
