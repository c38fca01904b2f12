"""Files that only their owner can read, and that are never opened through a symbolic link.

A checkout of somebody else may bring links where Marsmith writes logs and locks.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO


def open_private(path: Path) -> BinaryIO:
    """Open a file to append to it; a new one has permissions 0600. Raises OSError for a link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o600), "ab")


def create_private(path: Path) -> BinaryIO:
    """Open a new file with permissions 0600 in the place of an old one or of a link.

    Raises OSError.
    """
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
