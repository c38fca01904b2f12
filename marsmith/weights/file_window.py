"""A part of a file as a file of its own, without a copy."""

from __future__ import annotations

import io
from typing import Any, BinaryIO, cast


class _Window(io.RawIOBase):
    """A part of a file as a file, without a copy."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self._size, self._place = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        left = min(len(buffer), max(0, self._size - self._place))
        self._file.seek(self._start + self._place)
        data = self._file.read(left)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def window(file: BinaryIO, start: int, size: int) -> BinaryIO:
    """Return a part of a file as a file."""
    return cast(BinaryIO, io.BufferedReader(_Window(file, start, size)))
