"""A private copy of an archive: what is verified, checked and loaded stays the same bytes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from marsmith.archive.reader import Archive
from marsmith.core.errors import ArchiveError

_CHUNK = 8 << 20  # bytes
_NO_KERNEL_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


class PrivateCopy(Archive):
    """A copy of an archive; its file has a name of its own."""

    def __init__(self, path: Path, name: str, source: Path | None = None) -> None:
        self._name = name  # first: the error of one that cannot be opened needs it
        self._source = source or path
        super().__init__(path)

    @property
    def name(self) -> str:
        """The name of the archive that was copied."""
        return self._name

    @property
    def shown(self) -> Path:
        """The path that the user named."""
        return self._source


def private_copy(source: Path, folder: Path) -> PrivateCopy:
    """Copy an archive into a folder that only we may enter. Raises ArchiveError."""
    archive = Archive(source)
    target = folder / "archive"
    if source.is_dir():
        target.mkdir()
        archive.unpack(target)
        return PrivateCopy(target, archive.name, source)
    try:
        copy_file(source, target)
    except OSError as error:
        raise ArchiveError(
            f"{source} cannot be copied into {folder}: {error.strerror}",
            f"make room there, or set TMPDIR to a folder with more: {source} must be copied",
            code="not-copied",
        ) from error
    return PrivateCopy(target, archive.name, source)


def copy_file(source: Path, target: Path, require_going: Callable[[], None] = lambda: None) -> None:
    """Copy a file that only its owner may read; without using space where the disk can do that.

    Raises OSError, and what `require_going` raises meanwhile.
    """
    read = os.open(source, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe must not block
    try:
        written = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        try:
            with suppress(_NotByKernelError):
                while _copied_by_kernel(read, written):
                    require_going()
            while chunk := os.read(read, _CHUNK):
                require_going()
                while chunk:
                    chunk = chunk[os.write(written, chunk) :]
        finally:
            os.close(written)
    finally:
        os.close(read)


class _NotByKernelError(Exception):
    pass


def _copied_by_kernel(read: int, written: int) -> int:
    try:
        return os.copy_file_range(read, written, _CHUNK)
    except OSError as error:
        if error.errno in _NO_KERNEL_COPY:
            raise _NotByKernelError from error
        raise
