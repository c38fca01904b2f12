"""The front end dies, and comes back with the same versions, default and scale."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults.conftest import Scale
from tests.faults.load import Tally
from tests.faults.servers import PATIENT, Station, served
from tests.integration.kit import wait_for

Report = Callable[[str, Tally], None]


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    with served(tmp_path_factory.mktemp("front"), "digest", secure=True) as running:
        yield running


@pytest.mark.faults  # tests/integration/test_deploy.py has a quick one
def test_a_front_end_that_was_killed_comes_back_as_it_was(
    station: Station, scale: Scale, report: Report
) -> None:
    station.kit("deploy", "digest", "--version", "2.0", "--port", station.port)
    station.kit("scale", "digest", "3", "--port", station.port)
    time.sleep(2.5)  # what the management API was told is recorded every two seconds
    before, restarts = station.versions("digest"), station.state.restarts
    assert ("2.0", True, 3, 3) in before
    with station.loaded("digest", scale.connections, PATIENT) as tally:
        time.sleep(scale.seconds / 2)
        os.kill(station.front_end, signal.SIGKILL)
        wait_for(lambda: station.state.restarts > restarts and station.state.ready, "it to be back")
        time.sleep(scale.seconds / 2)
    report("front end killed (-9)", tally)
    assert tally.refused == 0
    assert station.versions("digest") == before
