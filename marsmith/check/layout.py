"""Check an archive's files: sound, none too many, and those of its project."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from marsmith.archive.containers import Entry
from marsmith.check.subject import Subject
from marsmith.core.errors import ArchiveError
from marsmith.core.findings import Finding, Severity
from marsmith.core.hashing import sha256_of
from marsmith.project.entries import entries, generated

_SECRET_FILES = re.compile(
    r"(^|/)(\.env(\.(?!example|sample|template|dist).*)?|\.netrc|\.pypirc|\.npmrc|\.git-credentials|\.htpasswd|id_(rsa|dsa|ecdsa|"
    r"ed25519)|credentials(\.json)?|.*\.(p12|pfx|jks|keystore))$|(^|/)(\.ssh|\.aws)/"
)
# A repository contains its whole history, and the address that it was cloned from.
_SECRET_FOLDERS = re.compile(r"(?P<folder>(^|.*?/)(\.git|\.svn|\.hg)/)")
_TEXT = 1 << 16  # bytes; a private key is smaller
_PRIVATE_KEY = re.compile(rb"-----BEGIN (\w+ )*PRIVATE KEY-----")
_SITE_FILES = re.compile(r"^(site|user)customize(/__init__)?(\.[\w-]+)*\.(py|pyc|so)$")
_PATH_FILE = re.compile(rb"^import[ \t]", re.MULTILINE)
_STRAYS = re.compile(
    r"(?P<folder>(^|.*?/)(__pycache__|\.idea|\.vscode|\.ipynb_checkpoints|\.mypy_cache|"
    r"\.pytest_cache|\.ruff_cache|__MACOSX|node_modules|\.venv)/)"
    r"|\.py[co]$|(^|/)(\.DS_Store|Thumbs\.db|\.gitignore|desktop\.ini)$|~$|\.sw[op]$"
)


def check_layout(subject: Subject) -> Iterator[Finding]:
    """Yield entries that should not be in an archive; one with unsafe entries cannot be opened."""
    entries = subject.archive.entries
    for entry in entries:
        yield from _check_entry(subject, entry)
    yield from _check_folders(subject, [entry.name for entry in entries])


def _check_entry(subject: Subject, entry: Entry) -> Iterator[Finding]:
    if _runs_by_itself(subject, entry):
        message = f"Python runs {entry.name!r} when a worker starts, before anything is checked"
        hint = "do not serve it; move its code into the handler"
        yield subject.finding(message, hint, entry.name, rule="site-file")
    elif _SECRET_FILES.search(entry.name):
        yield _secret(subject, entry.name)
    elif _stray(subject, entry.name) == entry.name:
        yield _stray_file(subject, entry.name)


def _runs_by_itself(subject: Subject, entry: Entry) -> bool:
    """Return whether Python's site module runs a file of this name: a .pth of text, too."""
    if _SITE_FILES.search(entry.name):
        return True
    if not entry.name.endswith(".pth") or entry.size > _TEXT:
        return False
    try:
        return _PATH_FILE.search(subject.archive.read(entry.name)) is not None
    except ArchiveError:
        return False  # check_contents says what is wrong with it


def _check_folders(subject: Subject, names: list[str]) -> Iterator[Finding]:
    """Yield folders that should not be in an archive, once each."""
    secret = Counter(found["folder"] for name in names if (found := _SECRET_FOLDERS.match(name)))
    for folder in secret:
        yield _secret(subject, folder)
    strays = Counter(_stray(subject, name) for name in names if not _SECRET_FOLDERS.match(name))
    for place, count in strays.items():
        if place and place.endswith("/"):
            yield _stray_file(subject, place, f" ({count} file{'s' if count > 1 else ''})")


def _stray(subject: Subject, name: str) -> str | None:
    """Return the folder or file that should not be in the archive, or None."""
    found = _STRAYS.search(name)
    if found is None or _is_code(subject, name):
        return None
    return found["folder"] or name


def _stray_file(subject: Subject, place: str, more: str = "") -> Finding:
    message = f"{place!r}{more} is not needed in an archive"
    hint = "list single files in extra_files, or clean the folder"
    return subject.finding(message, hint, place, severity=Severity.WARNING, rule="stray-file")


def _is_code(subject: Subject, name: str) -> bool:
    """Return whether bytecode lies where Python imports it without its text."""
    alone = name.endswith(".pyc") and name.removesuffix("c") not in subject.archive.names
    return alone and "__pycache__" not in PurePosixPath(name).parts


def _secret(subject: Subject, name: str) -> Finding:
    message = f"{name!r} looks like a secret, and anyone who gets the archive can read it"
    hint = "remove it and build the archive again; if others have the archive, replace the secret"
    return subject.finding(message, hint, name, rule="secret")


def check_contents(subject: Subject) -> Iterator[Finding]:
    """Yield files that are damaged (zip has a checksum of each), and private keys."""
    for entry in sorted(subject.archive.entries, key=lambda entry: entry.name):
        try:
            content = b""
            if entry.size < _TEXT:
                content = subject.archive.read(entry.name)
            else:
                subject.archive.copy(entry.name, Path(os.devnull))
        except ArchiveError as error:
            message = error.message.removeprefix(f"{subject.archive.shown}: ")
            hint = "copy the archive again" if error.code == "archive-damaged" else error.hint
            yield subject.finding(message, hint, entry.name, rule="damaged")
            continue
        named = _SECRET_FILES.search(entry.name) or _SECRET_FOLDERS.match(entry.name)
        if not named and (_PRIVATE_KEY.search(content) or _is_key(entry.name, content)):
            yield _secret(subject, entry.name)


def _is_key(name: str, content: bytes) -> bool:
    """Return whether a file is named .key and starts as DER does, with a sequence."""
    return name.endswith(".key") and content[:1] == b"\x30" and len(content) > 32


def check_against_sources(subject: Subject) -> Iterator[Finding]:
    """Yield the files in which an archive differs from the project that describes it."""
    if subject.project is None or subject.spec is None:
        return
    made = generated(subject.project, subject.spec)
    named = entries(subject.project, subject.spec)
    expected = {entry.name: entry.file for entry in named if entry.name not in made}
    old = f"{subject.archive.shown.name} is older than its sources"
    hint = f"build it: marsmith build {subject.archive.name}"
    held = subject.archive.names
    for name, path in expected.items():
        if name not in held:
            message = f"{old}: it lacks {name!r}"
            yield subject.finding(message, hint, name, rule="stale")
        elif sha256_of(path) != sha256_of(subject.archive.read(name)):
            message = f"{old}: {name!r} differs"
            yield subject.finding(message, hint, name, rule="stale")
    for name, content in made.items():
        if name not in held or subject.archive.read(name) != content:
            message = f"{old}: settings in {name!r} differ"
            yield subject.finding(message, hint, name, rule="stale")
