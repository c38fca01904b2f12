"""Let one process work at a time; the system frees the lock when its holder ends."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from marsmith.core.private_files import open_private

_PAUSE = 0.02  # seconds between two tries


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of the file `path`; wait while another process holds it.

    The file is created and kept: if it were removed, two processes could lock two files of the
    same name. Raises OSError.
    """
    with open_private(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def locked_within(path: Path, patience: float) -> Iterator[bool]:
    """Hold the lock if it gets free within `patience` seconds; yield whether it did.

    Raises OSError.
    """
    end = time.monotonic() + patience
    with open_private(path) as file:
        while not (held := _locks(file)) and time.monotonic() < end:
            time.sleep(_PAUSE)
        yield held


def _locks(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
