"""The clock is set back by a day under a running server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.clocks import clock_of_java
from tests.faults.conftest import Scale
from tests.faults.load import Tally
from tests.faults.servers import served

Report = Callable[[str, Tally], None]


@pytest.mark.faults
def test_the_clock_is_set_back(tmp_path: Path, scale: Scale, report: Report) -> None:
    clock = clock_of_java(tmp_path)
    with (
        served(tmp_path / "project", "digest", env=clock.environment) as station,
        station.loaded("digest", scale.connections) as tally,
    ):
        clock.set_back_half_way(scale.seconds)
        assert station.state.ready
        station.kit("scale", "digest", "3", "--port", station.port)
    report("clock set back by a day", tally)
    assert tally.refused == 0
