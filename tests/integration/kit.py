"""What the tests type and look at: Marsmith as a subprocess, processes, files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Kit:
    """The `marsmith` command in one project."""

    root: Path

    def __call__(
        self, *arguments: str | Path | int, check: bool = True, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; `check` asserts that it exits with 0."""
        command = [str(BIN / "marsmith"), "--project", str(self.root), *map(str, arguments)]
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=False, env=env
        )
        assert "Traceback" not in result.stderr
        if check:
            assert result.returncode == 0, result.stdout + result.stderr
        return result

    def json(self, *arguments: str | Path | int) -> Any:
        """Run a command with --json and return what it printed."""
        return json.loads(self(*arguments, "--json").stdout)

    def served(self, port: int | None = None) -> tuple[str, list[str], list[str]]:
        """Return the state of a server, its proven models and its unproven ones."""
        states = self.json("status")
        (state,) = [one for one in states if port in (None, one["port"])]
        proven = [name for name in state["models"] if name not in state["unproven"]]
        return state["state"], proven, state["unproven"]

    def start(self, *arguments: str | int) -> subprocess.Popen[str]:
        """Run a command that goes on."""
        return subprocess.Popen(
            [str(BIN / "marsmith"), "--project", str(self.root), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def write(self, path: str, text: str) -> None:
        """Write a file of the project."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)


@dataclass(frozen=True)
class Served:
    """A server that answers, and Marsmith of its project."""

    kit: Kit
    port: int

    def url(self, path: str, offset: int = 0) -> str:
        """Return the URL of a path; `offset` 1 is the management API."""
        return f"http://127.0.0.1:{self.port + offset}{path}"


def leftovers(marker: str) -> list[str]:
    """Return the command lines of living processes that have to do with `marker`."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if (
                any(marker in word for word in [*words, process.cwd()])
                and process.pid != os.getpid()
            ):
                found.append(" ".join(words))
        except psutil.Error:
            continue
    return found


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait until a condition holds, and fail if it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)
