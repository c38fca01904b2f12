"""Run a training script with what it needs, whichever Python it was typed with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]


def enter() -> None:
    """Go on in the clone's .venv, which scripts/setup makes first if it has to.

    Also lets the script import what ships in archives: handlers and model definitions.
    """
    signal.signal(signal.SIGINT, _stop)
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "passive"
    )  # threads that wait leave the cores to others
    python = ROOT / ".venv" / "bin" / "python"
    if Path(sys.prefix) != ROOT / ".venv":
        if subprocess.run([ROOT / "scripts" / "setup"], check=False).returncode:
            raise SystemExit(1)  # it said why
        os.execv(python, [str(python), *sys.argv])  # noqa: S606
    sys.path[:0] = [str(ROOT / "model_defs"), str(ROOT / "handlers")]


def _stop(*_: object) -> NoReturn:
    fail("stopped", "the same command goes on from its .resume file, if it has written one")


def fail(message: str, hint: str) -> NoReturn:
    """Say what is wrong and what helps, and end with status 1."""
    print(f"error: {message}\n  hint: {hint}", file=sys.stderr)
    raise SystemExit(1)
