"""A virtual environment for each peer, made by uv from its locked requirements."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import click

from bench.failures import SystemFailedError
from bench.places import BENCH, WORK

_UV = Path(sys.executable).parent / "uv"


def environment(peer: str) -> Path:
    """Return the folder of programs of a peer's environment, made if it is not there.

    Raises SystemFailedError if it cannot be installed.
    """
    return installed(BENCH / "peers" / peer / "requirements.txt", WORK / "venvs" / peer)


def installed(requirements: Path, folder: Path, *, compiled: bool = True) -> Path:
    """Return the folder of programs of an environment with locked requirements, made if needed.

    `compiled`: as pip does it by itself, so that no start is slower for compiling what it imports.
    uv links files from its cache: a second environment with PyTorch costs seconds and little disk.
    Raises SystemFailedError if it cannot be installed.
    """
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    done = folder / "installed.sha256"
    if not done.exists() or done.read_text() != digest:
        click.echo(f"installing {folder.name} into {folder}…", err=True)
        shutil.rmtree(folder, ignore_errors=True)
        _uv("venv", "--python", sys.executable, str(folder))
        install = ["pip", "install", "--python", str(folder), "--require-hashes"]
        _uv(*install, *["--compile-bytecode"] * compiled, "-r", str(requirements))
        done.write_text(digest)
    return folder / "bin"


def _uv(*arguments: str) -> None:
    result = subprocess.run([_UV, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["uv gave no reason"])[-1]
        raise SystemFailedError(f"it cannot be installed: {last.strip()}")
