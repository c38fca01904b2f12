"""Files that are written once: in a folder, or elsewhere (s3.py).

Names are OWNER/ID/FILE. What is written is there whole, or not at all.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, Protocol

from marsmith.gateway.jobs.refusals import refusal

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Store(Protocol):
    """All methods may wait, and raise GatewayError if the storage does not work."""

    def put(self, name: str, content: bytes) -> bool:
        """Write a file; False if there is one of that name."""

    def get(self, name: str) -> bytes | None:
        """Return a file; None if there is none."""

    def size(self, name: str) -> int | None:
        """Return a file's size in bytes; None if there is none."""

    def ids(self, owner: str, file: str) -> list[str]:
        """Return the ids of an owner for which there is such a file."""

    def count(self, owner: str) -> int:
        """Return how many jobs and uploads an owner has."""

    def created(self, owner: str) -> list[float]:
        """Return when each job and upload of an owner was stored, as seconds since the epoch."""

    def remove(self, folder: str) -> None:
        """Remove all files of OWNER/ID, or one file."""

    def sweep(self, before: float) -> None:
        """Remove what was stored before a time."""

    def address(
        self, method: Literal["GET", "PUT"], name: str, seconds: int, content_type: str = ""
    ) -> str | None:
        """Return a signed address of a file; None where the gateway answers itself."""


class FolderStore:
    """A store in a folder of this machine."""

    def __init__(self, root: Path) -> None:
        """The folder need not exist yet."""
        self._root = root
        self._new = root / "new"

    def put(self, name: str, content: bytes) -> bool:
        writer = self.writer(name)
        try:
            writer.write(content)
            return writer.commit()
        finally:
            writer.abort()

    def writer(self, name: str) -> Writer:
        """Begin to write a file."""
        with storing():
            self._new.mkdir(0o700, parents=True, exist_ok=True)
            return Writer(self._new / secrets.token_hex(16), self._root / name)

    def get(self, name: str) -> bytes | None:
        with storing(), suppress(FileNotFoundError):
            return (self._root / name).read_bytes()
        return None

    def size(self, name: str) -> int | None:
        with storing(), suppress(FileNotFoundError):
            return (self._root / name).stat().st_size
        return None

    def ids(self, owner: str, file: str) -> list[str]:
        with storing():
            return sorted(one.parent.name for one in (self._root / owner).glob(f"*/{file}"))

    def count(self, owner: str) -> int:
        with storing(), suppress(FileNotFoundError):
            return sum(1 for _ in (self._root / owner).iterdir())
        return 0

    def created(self, owner: str) -> list[float]:
        with storing():
            folders = [*(self._root / owner).iterdir()] if (self._root / owner).exists() else []
            return [_created(one) for one in folders]

    def remove(self, folder: str) -> None:
        gone = self._new / secrets.token_hex(16)
        with storing(), suppress(FileNotFoundError):
            self._new.mkdir(0o700, parents=True, exist_ok=True)
            (self._root / folder).rename(gone)
            shutil.rmtree(gone) if gone.is_dir() else gone.unlink()

    def sweep(self, before: float) -> None:
        with storing():
            for folder in self._root.glob("*/*"):  # also what an interrupted writer has left
                if _created(folder) < before:
                    self.remove(str(folder.relative_to(self._root)))

    def address(self, *_: object, **__: object) -> None:
        """The gateway signs addresses of its own."""


class Writer:
    """A file that is being written; nobody sees it before commit()."""

    def __init__(self, temporary: Path, path: Path) -> None:
        self._temporary = temporary
        self._path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self._file = os.fdopen(os.open(temporary, flags, 0o600), "wb")

    def write(self, content: bytes) -> None:
        """Add bytes."""
        with storing():
            self._file.write(content)

    def commit(self) -> bool:
        """Give the file its name; False if another one has it."""
        with storing():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._path.parent.mkdir(0o700, parents=True, exist_ok=True)
            try:
                self._path.hardlink_to(self._temporary)
            except FileExistsError:
                return False
        return True

    def abort(self) -> None:
        """Leave nothing behind, but what was committed."""
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)
        with suppress(OSError):
            self._file.close()


@contextmanager
def storing() -> Iterator[None]:
    """Turn errors of the system into refusals."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise refusal("job-storage-full") from error
        reason = error.strerror or type(error).__name__
        raise refusal("job-storage", reason=reason, retry_after=5) from error


def _created(folder: Path) -> float:
    """Return when the first file of a folder was written."""
    with suppress(FileNotFoundError, NotADirectoryError):
        written = [one.stat().st_mtime for one in folder.iterdir()]
        return min(written, default=folder.stat().st_mtime)
    with suppress(FileNotFoundError):
        return folder.stat().st_mtime
    return time.time()
