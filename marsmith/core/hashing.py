"""SHA-256 of files and streams, in pieces: an archive may be larger than memory."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

_AT_ONCE = 1 << 20  # bytes


def sha256_of(source: Path | BinaryIO | bytes) -> str:
    """Return the SHA-256 of a file, of what is left of a stream, or of bytes, in hexadecimal.

    Raises OSError for a file that cannot be read.
    """
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    if isinstance(source, Path):
        with source.open("rb") as file:
            return sha256_of(file)
    digest = hashlib.sha256()
    while piece := source.read(_AT_ONCE):
        digest.update(piece)
    return digest.hexdigest()
