"""Logs as far as they were written since a moment; what stands before it is another run's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from marsmith.torchserve.log_records import as_text


class LogTails:
    """The ends of several logs of a folder."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        """The moment is now."""
        self._folder = folder
        self._sizes = {name: self._size(name) for name in names}

    def read(self, name: str) -> str:
        """Return what a log says since then; all of it, if it was begun anew meanwhile."""
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
