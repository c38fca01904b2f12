"""`archives.lock`: the version, size and SHA-256 that each archive must have; no IO."""

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
_AGAIN = "if this is intended, write the lock again: marsmith build --lock"
_HEADING = "# Written by `marsmith build --lock`; `marsmith build --locked` builds exactly this.\n"


@dataclass(frozen=True)
class Locked:
    """An archive's identity; `size` is in bytes."""

    version: str
    sha256: str
    size: int


class Lock:
    """The content of a lock file."""

    def __init__(self, archives: Mapping[str, Locked], lines: TomlLines) -> None:
        self.archives = archives
        self._lines = lines

    def difference(self, name: str, made: Locked) -> Finding | None:
        """Return a finding if an archive is not the locked one, else None."""
        locked = self.archives.get(name)
        if locked is None:
            return Finding(f"{name} is not locked", _AGAIN, LOCK_FILE, rule="not-locked")
        if locked == made:
            return None
        was, comes = (f"{one.version}, {one.size} bytes, {one.sha256}" for one in (locked, made))
        message = f"{name} is locked as version {was}, but would be version {comes}"
        line = self._lines.find(("archives", name))
        return Finding(message, _AGAIN, LOCK_FILE, line, rule="lock-differs")

    def unknown(self, described: Iterable[str]) -> list[Finding]:
        """Return a finding for each locked archive that archives.toml does not describe."""
        return [
            Finding(
                f"{name} is locked, but archives.toml does not describe it",
                _AGAIN,
                LOCK_FILE,
                self._lines.find(("archives", name)),
                rule="lock-unknown",
            )
            for name in sorted(self.archives.keys() - set(described))
        ]


def parse_lock(text: str) -> Lock:
    """Read the text of a lock file. Raises ProjectError if it is damaged."""
    try:
        tables = tomllib.loads(text)["archives"]
        archives = {
            name: Locked(str(table["version"]), str(table["sha256"]), int(table["size"]))
            for name, table in tables.items()
        }
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise lock_unreadable(f"is damaged: {error!r}") from error
    return Lock(archives, TomlLines(text))


def lock_unreadable(why: str) -> ProjectError:
    """Return the error of a lock file that cannot be used."""
    hint = "restore it from git, or write it again: marsmith build --lock"
    return ProjectError(f"{LOCK_FILE} {why}", hint, code="lock-unreadable")


def format_lock(archives: Mapping[str, Locked]) -> str:
    """Return the text of a lock file; it depends on the archives alone."""
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
    """Return a TOML string: a JSON string, except for one control character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
