"""The names of entries: each is one file, inside the archive, on every system; no IO."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from marsmith.archive.parts import REBUILD, Part
from marsmith.core.errors import ArchiveError

_LONGEST_NAME = 255  # bytes, as file systems allow
_LONGEST_PATH = 1024
_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:")


def require_sound(parts: Iterable[Part]) -> None:
    """Raise ArchiveError for a name that is unsafe to unpack, or that two entries share."""
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for part in parts:
        _require_safe(part)
        key = _key(part.name)
        _require_new(part, key, files)
        if not part.folder:
            if key in folders:
                raise _twice(part.name, folders[key])
            files[key] = part.name
        elif folders.get(key, part.name) != part.name:
            raise _twice(part.name, folders[key])
        else:
            folders[key] = part.name
        while "/" in key:
            key = key.rpartition("/")[0]
            _require_new(part, key, files)
            folders.setdefault(key, part.name)


def _require_new(part: Part, key: str, files: dict[str, str]) -> None:
    if key in files:
        raise _twice(part.name, files[key])


def _key(name: str) -> str:
    """Return what is equal for names that some file system or Python takes for one."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _twice(name: str, other: str) -> ArchiveError:
    if name == other:
        message = f"it holds two files {name!r}; it is undefined which one is served"
    else:
        message = f"{name!r} and {other!r} have the same place on some systems"
    return ArchiveError(message, REBUILD, code="duplicate-entry")


def _require_safe(part: Part) -> None:
    name = part.name
    if part.kind:
        where = ", which can lead out of the archive" if part.kind == "a link" else ""
        raise ArchiveError(
            f"{name!r} is {part.kind}{where}", "put the file itself into the archive", code="link"
        )
    outside = f"{name!r} would be written outside of the folder it is unpacked into"
    if _ABSOLUTE.match(name):
        raise ArchiveError(outside, REBUILD, code="absolute-path")
    pieces = re.split(r"[/\\]", unicodedata.normalize("NFKC", name))
    if ".." in pieces:
        raise ArchiveError(outside, REBUILD, code="path-escapes")
    if why := _odd(name):
        raise ArchiveError(f"an entry's name {why}: {name[:80]!r}", REBUILD, code="entry-name")


def _odd(name: str) -> str | None:
    """Return why a name is not one of a plain file, or None."""
    pieces = name.split("/")
    if "\\" in name or "" in pieces or "." in pieces:
        return "is not written plainly"
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        return "holds control characters"
    if len(name.encode()) > _LONGEST_PATH or any(len(p.encode()) > _LONGEST_NAME for p in pieces):
        return "is too long"
    return None
