"""Run a command on a terminal of a given size, and return what it wrote there."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path


def on_terminal(
    *arguments: str | Path,
    cwd: Path,
    code: str = "",
    columns: int = 80,
    env: dict[str, str] | None = None,
) -> tuple[int, str]:
    """Return the exit status and the raw text; `code` runs instead of `python -m marsmith`."""
    own, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    start = ["-c", code] if code else ["-m", "marsmith"]
    unset = ("COLUMNS", "NO_COLOR", "FORCE_COLOR")
    clean = {key: value for key, value in os.environ.items() if key not in unset}
    process = subprocess.Popen(
        [sys.executable, *start, *map(str, arguments)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        env=clean | {"TERM": "xterm-256color"} | (env or {}),
        start_new_session=True,
    )
    os.close(terminal)
    seen = b""
    try:
        while part := os.read(own, 65536):
            seen += part
    except OSError:
        pass  # Linux's way to say that nobody has the other end any more
    finally:
        os.close(own)
    return process.wait(60), seen.decode()
