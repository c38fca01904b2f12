"""The three forms of an archive: a zip, a gzipped tar, and a folder.

torch-model-archiver writes all of them (`--archive-format default | zip-store | tgz | no-archive`).
The one place where an archive's files are found: what two readers could read differently is
refused here, so that every command sees what TorchServe unpacks.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from marsmith.archive.entry_names import require_sound
from marsmith.archive.open_file import OpenFile
from marsmith.archive.parts import AGAIN, DamageError, Part, content, require_few
from marsmith.archive.tar_layout import tar_parts
from marsmith.archive.zip_layout import zip_parts
from marsmith.core.errors import ArchiveError
from marsmith.core.hashing import sha256_of


@dataclass(frozen=True)
class Entry:
    """One file in an archive."""

    name: str
    size: int  # bytes


class Container(ABC):
    """An archive in one of its forms.

    No two of its entries share a name, none is a link, and none is unsafe to unpack.
    """

    def __init__(self, shown: Path, parts: list[Part]) -> None:
        require_sound(parts)
        self._shown = shown  # the path that messages name
        self._parts = parts
        self._files = {part.name: part for part in parts if not part.folder}

    @property
    def entries(self) -> list[Entry]:
        """All files in their order."""
        return [Entry(part.name, part.size) for part in self._files.values()]

    @property
    @abstractmethod
    def digest(self) -> str:
        """The SHA-256 of the file in hexadecimal; of a folder, that of its names and files."""

    @abstractmethod
    def _content(self, part: Part) -> Iterator[bytes]:
        """Yield the bytes of a part. Raises DamageError or OSError."""

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield one file's bytes. Raises ArchiveError if it is missing or damaged."""
        with _damage(self._shown, name):
            yield from self._content(self._files[name])

    def copy(self, name: str, target: Path) -> None:
        """Write one file. Raises ArchiveError if it is missing or damaged."""
        with _damage(self._shown, name), target.open("wb") as output:
            for piece in self._content(self._files[name]):
                output.write(piece)

    def unpack(self, folder: Path) -> None:
        """Write all files into a folder. Raises ArchiveError."""
        for part in self._parts:
            target = folder / part.name
            with _damage(self._shown, part.name):
                (target if part.folder else target.parent).mkdir(parents=True, exist_ok=True)
            if not part.folder:
                self.copy(part.name, target)


def open_container(path: Path, shown: Path) -> Container:
    """Open an archive in any form; `shown` is the path that messages name.

    Raises ArchiveError if it is in none of them, or unsafe, or if readers would differ on it.
    """
    with _naming(shown), _damage(shown, ""):
        return _Folder(path, shown) if path.is_dir() else _Packed(path, shown)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Begin the message of an error with the archive's path."""
    try:
        yield
    except ArchiveError as error:
        if error.message.startswith(str(path)):
            raise
        message = f"{path}: {error.message}"
        raise ArchiveError(message, error.hint, code=error.code) from error


@contextmanager
def _damage(path: Path, part: str) -> Iterator[None]:
    """Turn an error of reading or writing into an ArchiveError."""
    what = f"{path}: {part}" if part else str(path)
    try:
        yield
    except (FileNotFoundError, KeyError, DamageError) as error:
        how = "is missing or damaged" if part else "is damaged or not an archive"
        raise ArchiveError(f"{what} {how}", AGAIN, code="archive-damaged") from error
    except OSError as error:
        message = f"{what} cannot be read or unpacked: {error.strerror}"
        hint = "correct its permissions, or free disk space"
        raise ArchiveError(message, hint, code="archive-unreadable") from error


class _Packed(Container):
    """A zip or a tar, by what it begins with."""

    def __init__(self, path: Path, shown: Path) -> None:
        self._file = self._plain = OpenFile.of(path)
        if self._file.at(0, 2) == b"\x1f\x8b":
            self._plain, parts = tar_parts(self._file)
        else:
            parts = zip_parts(self._file)
        super().__init__(shown, parts)

    @property
    def digest(self) -> str:
        return sha256_of(self._file.stream())

    def _content(self, part: Part) -> Iterator[bytes]:
        return content(self._plain, part)


class _Folder(Container):
    def __init__(self, path: Path, shown: Path) -> None:
        self._path = path
        parts: list[Part] = []
        for part in _below(path, ""):
            parts.append(part)
            require_few(len(parts))
        super().__init__(shown, sorted(parts, key=lambda part: part.name))

    @property
    def digest(self) -> str:
        lines = (f"{self._sha256(name)}  {name}\n" for name in sorted(self._files))
        return sha256_of("".join(lines).encode())

    def _sha256(self, name: str) -> str:
        with _damage(self._shown, name):
            return sha256_of(OpenFile.below(self._path, name).stream())

    def _content(self, part: Part) -> Iterator[bytes]:
        file = OpenFile.below(self._path, part.name)
        return file.pieces(0, file.size)


def _below(folder: Path, prefix: str) -> Iterator[Part]:
    """Yield what is below a folder; a link is yielded, not followed."""
    with os.scandir(folder) as found:
        for one in found:
            name, is_folder = prefix + one.name, one.is_dir(follow_symlinks=False)
            kind = "" if is_folder or one.is_file(follow_symlinks=False) else _kind(one)
            yield Part(name, one.stat(follow_symlinks=False).st_size, kind, is_folder)
            if is_folder:
                yield from _below(Path(one.path), f"{name}/")


def _kind(found: os.DirEntry[str]) -> str:
    if found.is_symlink():
        return "a link"
    return "a named pipe" if Path(found.path).is_fifo() else "a device"
