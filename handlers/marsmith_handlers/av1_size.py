"""How many pixels the AV1 pictures in an AVIF file have, whatever the file says of them.

A decoder obeys the coded picture and scales the result to the size that the file names, so a file
could call 268 million pixels 64 by 64. Here stands what it takes to find the size of the coded
pictures: boxes (ISO/IEC 14496-12), items (AVIF 1.1) and the head of the AV1 bitstream (5.3 to 5.5).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

# Boxes that hold others, and the bytes before the first of those.
_HOLDERS = {b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0, b"meta": 4}
_SEQUENCE_HEADER = 1  # the type of an OBU, an open bitstream unit
_TO_THE_END = 1 << 62
_IN_IDAT = 1  # the way to find an item's bytes: in the box idat, not in the file


class _Parts:
    """Counts boxes, items and units; raises ValueError for more than any picture has."""

    def __init__(self, most: int) -> None:
        self._left = most

    def count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ValueError("too many parts")


def coded_pixels(body: bytes, most_parts: int) -> int:
    """Return the pixels of all coded pictures and of the first frame of each track.

    Where frames may have sizes of their own, it is the largest that they can have. Raises
    ValueError for more than `most_parts` parts, and for pictures that lie over one another.
    """
    parts = _Parts(most_parts)
    items: list[tuple[int, list[slice]]] = []
    starts: list[int] = []
    sizes, idat = [0], 0
    for name, start, end in _boxes(body, parts):
        data = body[start : min(end, start + 20)].ljust(20, b"\0")
        if name == b"idat":
            idat = start
        elif name == b"iloc":
            items += _items(body[start:end], parts)
        elif name in (b"stco", b"co64"):
            starts += struct.unpack_from(">Q" if name == b"co64" else ">I", data, 8)
        elif name == b"stsz":
            every, _, first = struct.unpack_from(">III", data, 4)
            sizes.append(every or first)
    items += [(0, [slice(start, start + max(sizes))]) for start in starts]
    pixels, left = 0, 2 * len(body)
    for way, extents in items:
        base = idat if way == _IN_IDAT else 0
        pieces = [body[base + one.start : base + one.stop] for one in extents]
        left -= sum(map(len, pieces))
        if left < 0:
            raise ValueError("pictures overlap")
        coded = b"".join(pieces)
        pixels += sum(_pixels(header) for header in _sequence_headers(coded, parts))
    return pixels


def _boxes(body: bytes, parts: _Parts) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of the content of each box, also of those within others."""
    open_parts = [(0, len(body))]
    while open_parts:
        place, end = open_parts.pop()
        while place + 8 <= end:
            parts.count()
            size, name = struct.unpack_from(">I4s", body, place)
            head = 8
            if size == 1 and place + 16 <= end:
                (size,), head = struct.unpack_from(">Q", body, place + 8), 16
            stop = min(place + size, end) if size else end
            if stop < place + head:
                break
            yield name, place + head, stop
            if name in _HOLDERS:
                open_parts.append((place + head + _HOLDERS[name], stop))
            place = stop


def _items(iloc: bytes, parts: _Parts) -> list[tuple[int, list[slice]]]:
    """Return how each item's bytes are found, and where."""
    numbers = _Numbers(iloc)
    version, _ = numbers.take(1), numbers.take(3)
    widths = numbers.take(1), numbers.take(1)
    offset_size, length_size = divmod(widths[0], 16)
    base_size, index_size = divmod(widths[1], 16)
    items = []
    for _ in range(numbers.take(4 if version == 2 else 2)):
        parts.count()
        numbers.take(4 if version == 2 else 2)  # its number
        way = numbers.take(2) & 15 if version else 0
        numbers.take(2)  # in which file: here
        base, extents = numbers.take(base_size), []
        for _ in range(numbers.take(2)):
            parts.count()
            numbers.take(index_size if version else 0)
            start = base + numbers.take(offset_size)
            length = numbers.take(length_size)
            extents.append(slice(start, start + (length or _TO_THE_END)))
        items.append((way, extents))
        if numbers.ended:
            break
    return items


class _Numbers:
    """Big-endian numbers one after the other; zeros where the bytes are at their end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    @property
    def ended(self) -> bool:
        return self._place >= len(self._data)

    def take(self, size: int) -> int:
        taken = self._data[self._place : self._place + size]
        self._place += size
        return int.from_bytes(taken, "big")


def _sequence_headers(coded: bytes, parts: _Parts) -> Iterator[bytes]:
    place = 0
    while place < len(coded):
        parts.count()
        kind, extended, sized = coded[place] >> 3 & 15, coded[place] & 4, coded[place] & 2
        place += 2 if extended else 1
        size = len(coded) - place
        if sized:
            size, place = _leb128(coded, place)
        if kind == _SEQUENCE_HEADER:
            yield coded[place : place + min(size, 256)]
        place += size


def _leb128(data: bytes, place: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, and the place after it."""
    value = 0
    for index, byte in enumerate(data[place : place + 8]):
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, place + index + 1
    return value, place + 8


def _pixels(header: bytes) -> int:
    bits = _Bits(header)
    bits.take(3)  # the profile
    bits.take(1)  # whether it is a still picture
    if bits.take(1):  # the short form, of one picture that has the size given here
        bits.take(5)  # the level
        widths = bits.take(4) + 1, bits.take(4) + 1
        return (bits.take(widths[0]) + 1) * (bits.take(widths[1]) + 1)
    _pass_timing_and_points(bits)
    return 1 << bits.take(4) + 1 + bits.take(4) + 1


def _pass_timing_and_points(bits: _Bits) -> None:
    model = length = 0
    if bits.take(1):  # timing_info
        bits.take(64)
        if bits.take(1):  # equal_picture_interval, and a number with as many bits as zeros before
            zeros = 0
            while not bits.take(1) and zeros < 32:
                zeros += 1
            bits.take(zeros)
        model = bits.take(1)
        if model:
            length = bits.take(5) + 1
            bits.take(42)
    delays = bits.take(1)
    for _ in range(bits.take(5) + 1):  # operating points
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if model and bits.take(1):
            bits.take(2 * length + 1)
        if delays and bits.take(1):
            bits.take(4)


class _Bits:
    """Bits of bytes, the highest first; zeros where they are at their end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        shifted = self._value >> self._left if self._left >= 0 else 0
        return shifted & (1 << count) - 1
