"""A log on disk that log4j cuts into files: NAME.1.log, NAME.2.log, …, and last NAME.log."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from marsmith.torchserve.log_records import as_text


def log_files(path: Path) -> list[Path]:
    """Return a log's files, oldest first: log4j gives the highest number to the latest."""
    older = path.parent.glob(f"{path.stem}.*{path.suffix}")
    numbers = {int(n): one for one in older if (n := one.suffixes[0][1:]).isdecimal()}
    return [numbers[number] for number in sorted(numbers)] + [path]


class LogTails:
    """What is written to several logs of a folder from now on; earlier lines are another run's."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        """Note how long each log is now."""
        self._folder = folder
        self._sizes = {name: self._size(name) for name in names}

    def read(self, name: str) -> str:
        """Return what was written to a log since then; all of it if the log was started anew."""
        begun = self._sizes[name] if self._sizes[name] <= self._size(name) else 0
        try:
            with (self._folder / name).open("rb") as file:
                file.seek(begun)
                return as_text(file.read().decode("utf-8", errors="replace"))
        except FileNotFoundError:  # while log4j renames it
            return ""

    def _size(self, name: str) -> int:
        path = self._folder / name
        return path.stat().st_size if path.exists() else 0


class LogReader:
    """Reads each line of a log once, even if its files are renamed in between."""

    def __init__(self, path: Path) -> None:
        """Begin with the oldest file."""
        self._path = path
        self._file: BinaryIO | None = None
        self._begun = b""  # a line whose end is not written yet

    def close(self) -> None:
        """Close the file that is open."""
        if self._file:
            self._file.close()
        self._file = None

    def read(self) -> list[str]:
        """Return the complete lines that were written since the last call."""
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
        if os.fstat(file.fileno()).st_size < file.tell():  # the server's next start truncated it
            file.seek(0)
            self._begun = b""
        return file.read()

    def _next(self) -> BinaryIO | None:
        """Open the file after the present one, which is known by its inode: names change."""
        own = os.fstat(self._file.fileno()).st_ino if self._file else None
        opened: list[BinaryIO] = []
        for path in log_files(self._path):
            try:
                opened.append(path.open("rb"))
            except FileNotFoundError:  # renamed or removed since it was listed
                continue
        numbers = [os.fstat(file.fileno()).st_ino for file in opened]
        # If the present one was removed, the oldest that is left follows it.
        place = numbers.index(own) + 1 if own in numbers else 0
        for number, file in enumerate(opened):
            if number != place:
                file.close()
        return opened[place] if place < len(opened) else None
