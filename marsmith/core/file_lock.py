"""One process at a time, by a lock that the system takes back when its holder dies."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_PAUSE = 0.02  # seconds between two tries


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that the file `path` stands for; waits while another process holds it.

    The file is made, and stays: removing it would let two processes lock two files of its name.
    Raises OSError.
    """
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def locked_within(path: Path, patience: float) -> Iterator[bool]:
    """Hold that lock if it is free within `patience` seconds, and say whether it was.

    Raises OSError.
    """
    end = time.monotonic() + patience
    with path.open("ab") as file:
        while not (held := _locks(file)) and time.monotonic() < end:
            time.sleep(_PAUSE)
        yield held


def _locks(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
