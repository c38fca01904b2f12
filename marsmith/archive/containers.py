"""The three forms of an archive: a zip, a gzipped tar, and a folder.

torch-model-archiver writes all of them (`--archive-format default | zip-store | tgz | no-archive`).
In a tar, everything lies in one more folder, which the front end strips (ZipUtils.java).
"""

from __future__ import annotations

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from marsmith.core.errors import ArchiveError

_AGAIN = "build the archive again, or copy it again"


@dataclass(frozen=True)
class Entry:
    """One file in an archive."""

    name: str
    size: int  # bytes
    kind: str = ""  # empty for a plain file, else "a link", "a device" or "a named pipe"

    @property
    def is_link(self) -> bool:
        """Whether it is not a plain file, and so must not be unpacked."""
        return bool(self.kind)

    @property
    def escapes(self) -> bool:
        """Whether unpacking it would write outside of the target folder."""
        parts = PurePosixPath(self.name.replace("\\", "/")).parts
        return ".." in parts or self.name[:1] in ("/", "\\") or ":" in "".join(parts[:1])


class Container(Protocol):
    """An archive in one of its forms."""

    @property
    def entries(self) -> list[Entry]:
        """All files in their order; names may repeat. Raises ArchiveError."""

    def read(self, name: str, size: int = -1) -> bytes:
        """Return one file, or its first bytes. Raises ArchiveError if it is missing or damaged."""

    def copy(self, name: str, target: Path) -> None:
        """Write one file, in pieces. Raises ArchiveError if it is missing or damaged."""

    def unpack(self, folder: Path) -> None:
        """Write all files into a folder, which must exist. Raises ArchiveError."""


def open_container(path: Path) -> Container:
    """Open an archive in any form. Raises ArchiveError if it is in none of them."""
    if path.is_dir():
        return _Folder(path)
    if zipfile.is_zipfile(path):
        return _Zip(path)
    if tarfile.is_tarfile(path):
        return _Tar(path)
    raise ArchiveError(f"{path} is damaged or not an archive", _AGAIN, code="archive-damaged")


@contextmanager
def _damage(path: Path, part: str) -> Iterator[None]:
    """Turn what the standard library raises into an ArchiveError."""
    try:
        yield
    except OSError as error:
        # gzip's error for damaged data has neither.
        if isinstance(error, FileNotFoundError) or (error.filename is None and error.errno is None):
            raise _damaged(path, part) from error
        message = f"{path}: {part} cannot be read or unpacked: {error.strerror}"
        hint = "correct its permissions, or free disk space"
        raise ArchiveError(message, hint, code="archive-unreadable") from error
    except (KeyError, zipfile.BadZipFile, zlib.error, tarfile.TarError, EOFError) as error:
        raise _damaged(path, part) from error
    except (NotImplementedError, RuntimeError) as error:  # encrypted, or an unknown compression
        hint = "build it again without a password, with zip's methods deflate or stored"
        message = f"{path}: {part} cannot be unpacked: {error}"
        raise ArchiveError(message, hint, code="archive-compression") from error


def _damaged(path: Path, part: str) -> ArchiveError:
    return ArchiveError(f"{path}: {part} is missing or damaged", _AGAIN, code="archive-damaged")


def _require_inside(path: Path, entries: list[Entry]) -> None:
    for entry in entries:
        if entry.escapes or entry.is_link:
            what = f"is {entry.kind}" if entry.is_link else "would be written outside of its folder"
            raise ArchiveError(
                f"{path}: {entry.name!r} {what}",
                "do not use this archive; build it again from its sources",
                code="archive-unsafe",
            )


@dataclass
class _Zip:
    path: Path

    @cached_property
    def entries(self) -> list[Entry]:
        with _damage(self.path, "its table of contents"), zipfile.ZipFile(self.path) as file:
            # If the archive is cut off, zipfile may find a zip within it instead.
            if min((one.header_offset for one in file.infolist()), default=0) > 0:
                raise zipfile.BadZipFile
            return [
                Entry(one.filename, one.file_size, _kind(one))
                for one in file.infolist()
                if not one.is_dir()
            ]

    def read(self, name: str, size: int = -1) -> bytes:
        with (
            _damage(self.path, name),
            zipfile.ZipFile(self.path) as archive,
            archive.open(name) as file,
        ):
            return file.read(size)

    def copy(self, name: str, target: Path) -> None:
        with (
            _damage(self.path, name),
            zipfile.ZipFile(self.path) as archive,
            archive.open(name) as file,
            target.open("wb") as output,
        ):
            shutil.copyfileobj(file, output)

    def unpack(self, folder: Path) -> None:
        _require_inside(self.path, self.entries)
        with _damage(self.path, "some file"), zipfile.ZipFile(self.path) as file:
            file.extractall(folder)  # noqa: S202 (names are checked)


def _kind(entry: zipfile.ZipInfo) -> str:
    return "a link" if (entry.external_attr >> 16) & 0o170000 == 0o120000 else ""


@dataclass
class _Tar:
    path: Path

    @cached_property
    def _members(self) -> dict[str, tarfile.TarInfo]:
        with _damage(self.path, "its table of contents"), tarfile.open(self.path) as file:
            return {member.name.removeprefix("./"): member for member in file if not member.isdir()}

    @cached_property
    def _top(self) -> str:
        """The one folder that holds everything, with a slash; empty if there is none."""
        first = {name.partition("/")[0] for name in self._members}
        wrapped = len(first) == 1 and all("/" in name for name in self._members)
        return f"{first.pop()}/" if wrapped else ""

    @property
    def entries(self) -> list[Entry]:
        return [
            Entry(name.removeprefix(self._top), member.size, _kind_in_tar(member))
            for name, member in self._members.items()
        ]

    def read(self, name: str, size: int = -1) -> bytes:
        with _damage(self.path, name), tarfile.open(self.path) as archive:
            file = archive.extractfile(self._members[self._top + name])
            if file is None:
                raise KeyError(name)
            return file.read(size)

    def copy(self, name: str, target: Path) -> None:
        with _damage(self.path, name), tarfile.open(self.path) as archive:
            file = archive.extractfile(self._members[self._top + name])
            if file is None:
                raise KeyError(name)
            with target.open("wb") as output:
                shutil.copyfileobj(file, output)

    def unpack(self, folder: Path) -> None:
        _require_inside(self.path, self.entries)
        with _damage(self.path, "some file"), tarfile.open(self.path) as archive:
            for name, member in self._members.items():
                target = folder / name.removeprefix(self._top)
                target.parent.mkdir(parents=True, exist_ok=True)
                if file := archive.extractfile(member):
                    with target.open("wb") as output:
                        shutil.copyfileobj(file, output)


def _kind_in_tar(member: tarfile.TarInfo) -> str:
    if member.isreg():
        return ""
    return "a named pipe" if member.isfifo() else "a device" if member.isdev() else "a link"


@dataclass
class _Folder:
    path: Path

    @cached_property
    def entries(self) -> list[Entry]:
        with _damage(self.path, "a file"):
            return [
                Entry(file.relative_to(self.path).as_posix(), size, _kind_on_disk(file))
                for file in sorted(self.path.rglob("*"))
                if file.is_symlink() or not file.is_dir()
                for size in [file.lstat().st_size]
            ]

    def read(self, name: str, size: int = -1) -> bytes:
        with _damage(self.path, name), (self.path / name).open("rb") as file:
            return file.read(size)

    def copy(self, name: str, target: Path) -> None:
        with _damage(self.path, name):
            shutil.copyfile(self.path / name, target)

    def unpack(self, folder: Path) -> None:
        with _damage(self.path, "some file"):
            shutil.copytree(self.path, folder, dirs_exist_ok=True)


def _kind_on_disk(path: Path) -> str:
    if path.is_symlink():
        return "a link"
    return "" if path.is_file() else "a named pipe" if path.is_fifo() else "a device"
