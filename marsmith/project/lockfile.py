"""`archives.lock`: what each archive comes out as. Text in, data out; no IO."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from marsmith.core.errors import ProjectError
from marsmith.core.findings import Finding
from marsmith.project.toml_lines import TomlLines

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LOCK_FILE = "archives.lock"
_AGAIN = "if that is right, lock anew: marsmith build --lock"
_HEADING = "# What `marsmith build --lock` made; `marsmith build --locked` makes nothing else.\n"


@dataclass(frozen=True)
class Locked:
    """What an archive is; `size` in bytes."""

    version: str
    sha256: str
    size: int


class Lock:
    """What the lock file says."""

    def __init__(self, archives: Mapping[str, Locked], lines: TomlLines) -> None:
        self.archives = archives
        self._lines = lines

    def difference(self, name: str, made: Locked) -> Finding | None:
        """Return the finding that an archive is not the locked one, or None if it is."""
        locked = self.archives.get(name)
        if locked is None:
            return Finding(f"{name} is not locked", _AGAIN, LOCK_FILE)
        if locked == made:
            return None
        was, comes = (f"{one.version}, {one.size} bytes, {one.sha256}" for one in (locked, made))
        message = f"{name} is locked as version {was}, and comes out as version {comes}"
        return Finding(message, _AGAIN, LOCK_FILE, self._lines.find(("archives", name)))

    def unknown(self, described: Iterable[str]) -> list[Finding]:
        """Return the findings of archives that are locked, and that nothing describes."""
        return [
            Finding(
                f"{name} is locked, and archives.toml does not describe it",
                _AGAIN,
                LOCK_FILE,
                self._lines.find(("archives", name)),
            )
            for name in sorted(self.archives.keys() - set(described))
        ]


def parse_lock(text: str) -> Lock:
    """Read the text of a lock file. Raises ProjectError if it is none."""
    try:
        tables = tomllib.loads(text)["archives"]
        archives = {
            name: Locked(str(table["version"]), str(table["sha256"]), int(table["size"]))
            for name, table in tables.items()
        }
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        message = f"{LOCK_FILE} is damaged: {error!r}"
        raise ProjectError(message, "take it from git again, or: marsmith build --lock") from error
    return Lock(archives, TomlLines(text))


def format_lock(archives: Mapping[str, Locked]) -> str:
    """Return the text of a lock file: the same archives give the same text."""
    tables = [
        f"[archives.{_key(name)}]\n"
        f"version = {_text(locked.version)}\n"
        f"sha256 = {_text(locked.sha256)}\n"
        f"size = {locked.size}\n"
        for name, locked in sorted(archives.items())
    ]
    return "\n".join([_HEADING, *tables])


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _text(value: str) -> str:
    """Return a text as TOML writes it: as JSON does, but for one control character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
