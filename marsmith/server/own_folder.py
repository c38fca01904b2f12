"""A server's temporary folder: proof that it is ours, and protection from cleaners.

A state file is in the project, where a checkout of somebody else may have brought one. So what it
says counts only if the folder that it names holds the same secret, its nonce. The folder is its
user's alone, and `marsmith serve` keeps it locked: systemd-tmpfiles passes locked folders by
(tmpfiles.d(5)). Other cleaners go by a file's times, so those are renewed.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from marsmith.core.atomic_write import naming
from marsmith.core.errors import ServerError
from marsmith.torchserve.environment import FOLDER_PREFIX, new_folder_path

_MARK = "nonce"
_LONGEST = 100  # bytes of a nonce


class OwnFolder:
    """The temporary folder of a server that this process starts."""

    def __init__(self) -> None:
        """Choose its path and its nonce; nothing is made yet. Raises ServerError."""
        self.path = new_folder_path()
        self.nonce = secrets.token_hex(16)
        self._lock: int | None = None

    def make(self) -> None:
        """Make it, also again after it was removed, and lock it. Raises ServerError, OSError."""
        self.release()
        try:
            self.path.mkdir(0o700)
        except FileExistsError as error:
            raise ServerError(
                f"the server's temporary folder {self.path} was replaced by something else",
                "start the server again",
                code="folder-replaced",
            ) from error
        handle = os.open(self.path / _MARK, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with naming(self.path / _MARK), os.fdopen(handle, "w") as file:
            file.write(self.nonce)
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @property
    def is_ours(self) -> bool:
        """Whether the folder that was made is still there."""
        return is_ours(self.path, self.nonce)

    def clear(self, *kept: str) -> None:
        """Remove what is in it, but for `kept`."""
        for path in self.path.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name not in (_MARK, *kept):
                path.unlink(missing_ok=True)

    def renew_times(self) -> None:
        """Let nothing in it look old to a cleaner."""
        for folder, folders, files in os.walk(self.path):
            for name in (".", *folders, *files):
                with suppress(OSError):  # removed since
                    os.utime(Path(folder, name), follow_symlinks=False)

    def release(self) -> None:
        """Unlock it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def remove(self) -> None:
        """Remove it, if it is still ours."""
        remove(self.path, self.nonce)
        self.release()


def is_ours(path: Path, nonce: str) -> bool:
    """Say whether a folder is the one that a server was started with, and this user's alone."""
    if not path.is_absolute() or not path.name.startswith(FOLDER_PREFIX):
        return False
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        stat = os.fstat(folder)
        if stat.st_uid != os.geteuid() or stat.st_mode & 0o077:
            return False
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with os.fdopen(os.open(_MARK, flags, dir_fd=folder), "rb") as file:
            return secrets.compare_digest(file.read(_LONGEST), nonce.encode())
    except OSError:
        return False
    finally:
        os.close(folder)


def remove(path: Path, nonce: str) -> None:
    """Remove a server's folder; never another one."""
    if is_ours(path, nonce):
        shutil.rmtree(path, ignore_errors=True)
