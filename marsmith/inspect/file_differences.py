"""Find the files of two archives that differ, and their lines."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from marsmith.archive.reader import Archive
from marsmith.core.errors import ArchiveError
from marsmith.core.hashing import sha256_of
from marsmith.inspect.untrusted import on_disk, read_part

_LONGEST_TEXT = 200_000  # bytes; comparing many lines takes long
_MOST_LINES = 60  # of a unified diff that is shown


@dataclass(frozen=True)
class FileDifference:
    """A file that differs. Sizes are in bytes, None if it is missing."""

    name: str
    before: int | None
    after: int | None
    lines: tuple[str, ...] = ()  # a unified diff, if both are text and the diff is short

    @property
    def kind(self) -> str:
        """`added`, `removed` or `changed`."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


def file_differences(
    first: Archive, second: Archive, *, without_lines: Collection[str] = ()
) -> Iterator[FileDifference]:
    """Yield the files that differ, sorted by name; those in `without_lines` get no diff."""
    sizes: list[dict[str, int]] = [
        {entry.name: entry.size for entry in archive.entries} for archive in (first, second)
    ]
    for name in sorted(sizes[0].keys() | sizes[1].keys()):
        before, after = (one.get(name) for one in sizes)
        if before is None or after is None:
            yield FileDifference(name, before, after)
        elif before != after or _digest(first, name) != _digest(second, name):
            lines = () if name in without_lines else _unified_diff(first, second, name)
            yield FileDifference(name, before, after, lines)


def _digest(archive: Archive, name: str) -> str:
    """Return a file's sha256, or why it cannot be read."""
    try:
        with on_disk(archive, name) as path:
            return sha256_of(path)
    except ArchiveError as error:
        return error.message.replace(str(archive.shown), "")
    except OSError as error:  # for a file in a folder
        return str(error.strerror)


def _unified_diff(first: Archive, second: Archive, name: str) -> tuple[str, ...]:
    """Return a unified diff, or nothing if it is too long."""
    first_text, second_text = _text(first, name), _text(second, name)
    if first_text is None or second_text is None:
        return ()
    lines = list(
        difflib.unified_diff(first_text, second_text, f"A/{name}", f"B/{name}", lineterm="")
    )
    return tuple(lines) if len(lines) <= _MOST_LINES else ()


def _text(archive: Archive, name: str) -> list[str] | None:
    """Return the lines of a short text file, or None for any other file."""
    try:
        content = read_part(archive, name)
        lines = content.decode().splitlines()
    except (ArchiveError, ValueError):
        return None
    return None if len(content) > _LONGEST_TEXT or b"\0" in content else lines
