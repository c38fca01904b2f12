"""A file that stays the same one while it is read, whatever takes its name meanwhile."""

from __future__ import annotations

import io
import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

AT_ONCE = 1 << 20  # bytes


class OpenFile:
    """An open file, read by place; it is closed once nothing refers to it any more."""

    def __init__(self, descriptor: int) -> None:
        """Take over a descriptor."""
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)
        self.size = os.fstat(descriptor).st_size

    @classmethod
    def of(cls, path: Path) -> OpenFile:
        """Open a file to read it. Raises OSError."""
        return cls(os.open(path, os.O_RDONLY | os.O_NONBLOCK))  # a named pipe must not block

    @classmethod
    def below(cls, folder: Path, name: str) -> OpenFile:
        """Open a file below a folder, following no link. Raises OSError."""
        *parents, last = name.split("/")
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        for parent in parents:
            above, how = descriptor, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            try:
                descriptor = os.open(parent, how, dir_fd=above)
            finally:
                os.close(above)
        try:
            how = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW
            return cls(os.open(last, how, dir_fd=descriptor))
        finally:
            os.close(descriptor)

    @classmethod
    def holding(cls, pieces: Iterable[bytes]) -> OpenFile:
        """Write a temporary file that has no name, so that nobody else finds it."""
        with tempfile.TemporaryFile() as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            return cls(os.dup(file.fileno()))

    def at(self, place: int, size: int) -> bytes:
        """Return the bytes at a place; fewer at the end of the file."""
        found = os.pread(self._descriptor, size, place)
        while 0 < len(found) < size and (more := self._more(place, size, len(found))):
            found += more
        return found

    def _more(self, place: int, size: int, got: int) -> bytes:
        return os.pread(self._descriptor, size - got, place + got)

    def pieces(self, place: int, size: int) -> Iterator[bytes]:
        """Yield so many bytes from a place on; fewer at the end of the file."""
        end = place + size
        while place < end and (piece := self.at(place, min(AT_ONCE, end - place))):
            place += len(piece)
            yield piece

    def stream(self) -> io.BufferedReader:
        """Return it as a stream, from its beginning."""
        return io.BufferedReader(_Stream(self))


class _Stream(io.RawIOBase):
    def __init__(self, file: OpenFile) -> None:
        self._file = file
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        found = self._file.at(self._place, len(buffer))
        buffer[: len(found)] = found
        self._place += len(found)
        return len(found)

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._file.size}[whence]
        self._place = base + place
        return self._place
