"""Write a reproducible zip: the same content, the same bytes.

With `zipfile`, deflate's output depends on zlib's version, and header fields on Python's. Here,
entries are stored uncompressed, sorted by name, with one date and one mode. Format:
PKWARE APPNOTE 6.3.10, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.14 to 4.3.16
(end of central directory), 4.5.3 (zip64 fields, written only where a value needs them).
"""

from __future__ import annotations

import hashlib
import mmap
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

Content = bytes | Path

_DOS_DATE = 1 << 5 | 1  # 1 January 1980, zip's first day
_UTF8_NAMES = 0x0800
_VERSION = 45  # zip64
_MADE_ON_UNIX = 3 << 8 | _VERSION
_REGULAR_FILE_0644 = 0o100644 << 16
_MAX32 = 0xFFFFFFFF
_MAX16 = 0xFFFF
_CHUNK = 8 << 20


def write_stored_zip(file: BinaryIO, entries: Mapping[str, Content]) -> str:
    """Write `entries` (name → bytes, or the path of a file) and return the zip's sha256."""
    digest = hashlib.sha256()
    offset = 0
    directory = []

    with ThreadPoolExecutor(max_workers=1) as hasher:

        def write(data: bytes | memoryview) -> int:
            # hashlib and file writes release the GIL, so the two run in parallel.
            hashed = hasher.submit(digest.update, data)
            try:
                file.write(data)
            finally:
                hashed.result()  # a mapped file cannot be closed while it is read
            return len(data)

        for name, content in sorted(entries.items()):
            with _opened(content) as data:
                crc, size = zlib.crc32(data), len(data)
                directory.append(_directory_entry(name.encode(), crc, size, offset))
                offset += write(_local_header(name.encode(), crc, size))
                offset += _each_chunk(data, write)
        write(b"".join(directory) + _end(len(directory), sum(map(len, directory)), offset))
    return digest.hexdigest()


@contextmanager
def _opened(content: Content) -> Iterator[memoryview]:
    """Map a file's bytes into memory, without copying them."""
    if isinstance(content, bytes):
        yield memoryview(content)
    elif content.stat().st_size == 0:
        yield memoryview(b"")  # an empty file cannot be mapped
    else:
        with (
            content.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as view,
        ):
            yield view


def _each_chunk(data: memoryview, write: Callable[[memoryview], int]) -> int:
    written = 0
    for start in range(0, len(data), _CHUNK):
        with data[start : start + _CHUNK] as chunk:
            written += write(chunk)
    return written


def _zip64(*values: int) -> bytes:
    """Return the extra field for the values that do not fit into 32 bits."""
    large = [value for value in values if value >= _MAX32]
    return struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""


def _local_header(name: bytes, crc: int, size: int) -> bytes:
    short, extra = min(size, _MAX32), _zip64(size, size)
    fields = (_VERSION, _UTF8_NAMES, 0, 0, _DOS_DATE, crc, short, short, len(name), len(extra))
    return struct.pack("<4s5H3L2H", b"PK\x03\x04", *fields) + name + extra


def _directory_entry(name: bytes, crc: int, size: int, offset: int) -> bytes:
    short, extra = min(size, _MAX32), _zip64(size, size, offset)
    fields = (_MADE_ON_UNIX, _VERSION, _UTF8_NAMES, 0, 0, _DOS_DATE, crc, short, short)
    place = (len(name), len(extra), 0, 0, 0, _REGULAR_FILE_0644, min(offset, _MAX32))
    return struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *fields, *place) + name + extra


def _end(count: int, size: int, offset: int) -> bytes:
    end = b""
    if count >= _MAX16 or size >= _MAX32 or offset >= _MAX32:
        fields = (44, _MADE_ON_UNIX, _VERSION, 0, 0, count, count, size, offset)
        end = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", *fields)
        end += struct.pack("<4sLQL", b"PK\x06\x07", 0, offset + size, 1)
    counts = min(count, _MAX16), min(count, _MAX16)
    places = min(size, _MAX32), min(offset, _MAX32)
    return end + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, *counts, *places, 0)
