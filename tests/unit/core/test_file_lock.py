"""marsmith/core/file_lock.py, between real processes."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from marsmith.core.file_lock import locked

HOLD = """
import sys, time
from pathlib import Path
from marsmith.core.file_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
    print("released", flush=True)
"""


def test_a_lock_waits_for_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "held\n"
        with (tmp_path / "lock").open("ab") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as waiting:
            assert waiting.stdout is not None
            holder.stdin.close()
            assert holder.stdout.readline() == "released\n"
            assert waiting.stdout.readline() == "held\n"
            waiting.kill()
    with locked(tmp_path / "lock"):  # a killed holder leaves nothing behind
        assert (tmp_path / "lock").exists()
