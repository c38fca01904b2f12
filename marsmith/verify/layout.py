"""Are an archive's files sound, safe to unpack, and those of its project?"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from marsmith.containers import Entry
from marsmith.contents import generated, sources
from marsmith.errors import ArchiveError
from marsmith.findings import Finding, Severity
from marsmith.verify.subject import Subject

_ANEW = "do not serve this archive; make it anew from its sources"
_LARGE = 200 << 20  # bytes
_BOMB = 200  # times what it is in the archive; weights seldom shrink to a half
_SECRET_FILES = re.compile(
    r"(^|/)(\.env(\.(?!example|sample|template|dist).*)?|\.netrc|\.pypirc|\.npmrc|\.git-credentials|\.htpasswd|id_(rsa|dsa|ecdsa|"
    r"ed25519)|credentials(\.json)?|.*\.(key|p12|pfx|jks|keystore))$|(^|/)(\.ssh|\.aws)/"
)
_TEXT = 1 << 16  # bytes that a file of words may have
_PRIVATE_KEY = re.compile(rb"-----BEGIN (\w+ )*PRIVATE KEY-----")
_STRAYS = re.compile(
    r"(^|/)(__pycache__|\.git|\.svn|\.hg|\.idea|\.vscode|\.ipynb_checkpoints|\.mypy_cache|"
    r"\.pytest_cache|\.ruff_cache|__MACOSX|node_modules|\.venv)/"
    r"|\.py[co]$|(^|/)(\.DS_Store|Thumbs\.db|\.gitignore|desktop\.ini)$|~$|\.sw[op]$"
)


def check_layout(subject: Subject) -> Iterator[Finding]:
    """Yield what would make unpacking unsafe, and what should not be in an archive."""
    entries = subject.archive.entries
    for name, count in Counter(entry.name for entry in entries).items():
        if count > 1:
            message = f"it holds {count} files {name!r}; which one is served is chance"
            yield subject.finding("duplicate-entry", message, _ANEW, name)
    for entry in {entry.name: entry for entry in entries}.values():
        yield from _check_entry(subject, entry)
    path, size = subject.archive.path, sum(entry.size for entry in entries)
    if path.is_file() and size > max(_LARGE, _BOMB * path.stat().st_size):
        message = f"unpacked it is {size // path.stat().st_size} times as large: {size >> 20} MiB"
        yield subject.finding("zip-bomb", message, _ANEW)


def _check_entry(subject: Subject, entry: Entry) -> Iterator[Finding]:
    if entry.escapes:
        absolute = PurePosixPath(entry.name).is_absolute() or ":" in entry.name[:3]
        rule = "absolute-path" if absolute else "path-escapes"
        message = f"{entry.name!r} would be written outside of the folder it is unpacked into"
        yield subject.finding(rule, message, _ANEW, entry.name)
    elif entry.is_link:
        message = f"{entry.name!r} is a link, which can lead out of the archive"
        yield subject.finding("link", message, "put the file itself into the archive", entry.name)
    elif _SECRET_FILES.search(entry.name):
        yield _secret(subject, entry.name)
    elif _STRAYS.search(entry.name) and not _is_code(subject, entry.name):
        message = f"{entry.name!r} is of no use in an archive"
        hint = "name single files as extra files, or clean the folder"
        yield subject.finding("stray-file", message, hint, entry.name, severity=Severity.WARNING)


def _is_code(subject: Subject, name: str) -> bool:
    """Whether bytecode stands where its text would, which is how Python takes it alone."""
    alone = name.endswith(".pyc") and name.removesuffix("c") not in subject.archive.names
    return alone and "__pycache__" not in PurePosixPath(name).parts


def _secret(subject: Subject, name: str) -> Finding:
    message = f"{name!r} looks like a secret, and whoever gets the archive has it"
    hint = "take it out and make the archive anew; if others have the archive, change the secret"
    return subject.finding("secret", message, hint, name)


def check_contents(subject: Subject) -> Iterator[Finding]:
    """Yield files that cannot be read back (zip keeps a checksum of each), and private keys."""
    for entry in sorted(subject.archive.entries, key=lambda entry: entry.name):
        try:
            content = b""
            if entry.size < _TEXT:
                content = subject.archive.read(entry.name)
            else:
                subject.archive.copy(entry.name, Path(os.devnull))
        except ArchiveError as error:
            message = error.message.removeprefix(f"{subject.archive.path}: ")
            yield subject.finding("damaged", message, "copy the archive again", entry.name)
            continue
        named = _SECRET_FILES.search(entry.name)
        if not named and _PRIVATE_KEY.search(content):
            yield _secret(subject, entry.name)


def check_against_sources(subject: Subject) -> Iterator[Finding]:
    """Yield the files in which an archive differs from the project that describes it."""
    if subject.project is None or subject.spec is None:
        return
    expected = {name: path for name, _, path in sources(subject.project, subject.spec)}
    hint = f"build it again: marsmith build {subject.archive.name}"
    held = subject.archive.names
    for name, path in expected.items():
        if name not in held:
            message = f"{subject.archive.path.name} lacks {name!r}, which the project has"
            yield subject.finding("stale", message, hint, name)
        elif hashlib.sha256(path.read_bytes()).digest() != _digest(subject, name):
            message = f"{subject.archive.path.name} holds another {name!r} than the project"
            yield subject.finding("stale", message, hint, name)
    for name, content in generated(subject.spec).items():
        if name not in held or subject.archive.read(name) != content:
            message = f"{subject.archive.path.name} was built with other settings: {name}"
            yield subject.finding("stale", message, hint, name)


def _digest(subject: Subject, name: str) -> bytes:
    return hashlib.sha256(subject.archive.read(name)).digest()
