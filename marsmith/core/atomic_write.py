"""Write files whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write that takes the place of `path` once it is complete.

    Until then `path` is as it was, and if anything goes wrong it stays so. Raises OSError.
    """
    # Named before it is made, so that no interruption can come between the two.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            yield file
        temporary.chmod(0o644)  # whatever the umask
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
