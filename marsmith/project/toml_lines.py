"""The lines of a TOML text's keys and list items, which `tomllib` does not keep."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

Path = tuple[str | int, ...]

_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"^\s*(\[\[?)\s*({_DOTTED})\s*\]")
_LONG_QUOTES = re.compile(r"\"{3}|'{3}")
_ASSIGNMENT = re.compile(rf"^\s*({_DOTTED})\s*=\s*(.*)")
# What an array consists of; a comment ends with its line.
_PART = re.compile(r"""#.*|"(?:[^"\\]|\\.)*"|'[^']*'|[\[\]{},]|[^\s\[\]{},"'#]+""")


class TomlLines:
    """Maps the path of a table or key to its line, counted from 1."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        arrays: Counter[Path] = Counter()
        table: Path = ()
        in_text = False
        array: _Array | None = None
        for number, line in enumerate(text.split("\n"), start=1):
            quotes = len(_LONG_QUOTES.findall(line))
            if in_text:
                in_text = quotes % 2 == 0
                continue
            in_text = quotes % 2 == 1
            if array:
                array = self._read(array, line, number)
            elif header := _HEADER.match(line):
                table = self._resolve(_split(header[2]), arrays)
                if header[1] == "[[":
                    arrays[table] += 1
                    self._lines.setdefault(table, number)
                    table = (*table, arrays[table] - 1)
                for length in range(1, len(table) + 1):
                    self._lines.setdefault(table[:length], number)
            elif assignment := _ASSIGNMENT.match(line):
                path = (*table, *_split(assignment[1]))
                self._lines.setdefault(path, number)
                if assignment[2].startswith("["):
                    array = self._read(_Array(path), assignment[2], number)

    def _read(self, array: _Array, text: str, number: int) -> _Array | None:
        """Note the items of an array that begin in a line; return it unless it ends there."""
        for index in array.items(text):
            self._lines.setdefault((*array.path, index), number)
        return array if array.depth else None

    @staticmethod
    def _resolve(names: Path, arrays: Counter[Path]) -> Path:
        """Point a header's names at the newest element of each array of tables on the way."""
        path: Path = ()
        for position, name in enumerate(names):
            path = (*path, name)
            if position < len(names) - 1 and arrays[path]:
                path = (*path, arrays[path] - 1)
        return path

    def find(self, path: Path) -> int | None:
        """Return the line of `path`, or of the nearest table around it that has one."""
        while path:
            if path in self._lines:
                return self._lines[path]
            path = path[:-1]
        return None


class _Array:
    """An array that may go over several lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.depth = 0  # of brackets that are open
        self._index = -1
        self._between = True  # two items

    def items(self, text: str) -> Iterator[int]:
        """Yield the positions of the items that begin in a piece of the text."""
        for part in _PART.findall(text):
            if self.depth == 1 and self._between and part[0] not in "#],":
                self._between = False
                self._index += 1
                yield self._index
            self._between |= self.depth == 1 and part == ","
            self.depth += (part in "[{") - (part in "]}")


def _split(dotted: str) -> Path:
    return tuple(name.strip("\"'") for name in re.findall(_KEY, dotted))
