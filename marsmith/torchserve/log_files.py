"""A log that is cut into files while it is read: NAME.1.log, NAME.2.log, …, and then NAME.log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO


def log_files(path: Path) -> list[Path]:
    """Return a log's files, the oldest first: log4j gives the highest number to the latest."""
    older = path.parent.glob(f"{path.stem}.*{path.suffix}")
    numbers = {int(n): one for one in older if (n := one.suffixes[0][1:]).isdecimal()}
    return [numbers[number] for number in sorted(numbers)] + [path]


class LogReader:
    """Reads a log's lines once each, however its files are renamed meanwhile."""

    def __init__(self, path: Path) -> None:
        """Begin with the oldest file there is."""
        self._path = path
        self._file: BinaryIO | None = None
        self._begun = b""  # a line whose end is not written yet

    def close(self) -> None:
        """Close the file that is open."""
        if self._file:
            self._file.close()
        self._file = None

    def read(self) -> list[str]:
        """Return the whole lines that were written since the last time."""
        found = [self._read_on()] if self._file else []
        while (file := self._next()) is not None:
            self.close()
            self._file = file
            found.append(self._read_on())
        *lines, self._begun = b"".join([self._begun, *found]).split(b"\n")
        return [line.decode("utf-8", "replace").rstrip("\r") for line in lines]

    def _read_on(self) -> bytes:
        file = self._file
        if file is None:
            return b""
        if os.fstat(file.fileno()).st_size < file.tell():  # begun anew by the server's next start
            file.seek(0)
            self._begun = b""
        return file.read()

    def _next(self) -> BinaryIO | None:
        """Open the file that comes after ours, known by its inode: its name will have changed."""
        own = os.fstat(self._file.fileno()).st_ino if self._file else None
        opened: list[BinaryIO] = []
        for path in log_files(self._path):
            try:
                opened.append(path.open("rb"))
            except FileNotFoundError:  # renamed or removed since they were listed
                continue
        numbers = [os.fstat(file.fileno()).st_ino for file in opened]
        # Where ours is gone, the oldest that is left follows it.
        place = numbers.index(own) + 1 if own in numbers else 0
        for number, file in enumerate(opened):
            if number != place:
                file.close()
        return opened[place] if place < len(opened) else None
