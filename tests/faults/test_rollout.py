"""Deploy, roll back and scale under load; and archives that fail on their way are backed out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults.archives import BROKEN, broken
from tests.faults.conftest import Scale
from tests.faults.load import Tally
from tests.faults.servers import Station, served

# tests/integration/test_deploy.py has quick ones.
pytestmark = pytest.mark.faults

Report = Callable[[str, Tally], None]


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    with served(tmp_path_factory.mktemp("rollout"), "digest", secure=True) as running:
        yield running


@pytest.mark.parametrize("how", BROKEN)
def test_an_archive_that_fails_is_backed_out(
    station: Station, scale: Scale, report: Report, how: str
) -> None:
    archive, before = broken(station.kit, how), station.versions("digest")
    with station.loaded("digest", scale.connections) as tally:
        end = time.monotonic() + scale.seconds
        failed = station.kit("deploy", archive, "--no-check", "--port", station.port, check=False)
        time.sleep(max(0.0, end - time.monotonic()))
    report(f"deploy of an archive that fails {how}", tally)
    assert failed.returncode == 1, failed.stdout
    assert f"error[{BROKEN[how][1]}]" in failed.stderr
    assert "hint:" in failed.stderr
    assert station.versions("digest") == before
    assert tally.refused == 0


def test_ten_times_over(station: Station, scale: Scale, report: Report) -> None:
    """Deploy, scale up, roll back, scale down: nobody who asks notices."""
    kit, port = station.kit, ("--port", station.port)
    with station.loaded("digest", scale.connections) as tally:
        for turn in range(10 if scale.full else 2):
            kit("deploy", "digest", "--version", f"2.{turn}", *port)
            kit("scale", "digest", "3", *port)
            kit("rollback", "digest", *port)
            kit("scale", "digest", "1", *port)
    report("deploy, scale up, roll back, scale down; ten times", tally)
    assert (tally.wrong, tally.refused, tally.lost) == (0, 0, 0)
    (default,) = [one for one in kit.json("versions", "digest", *port) if one["default"]]
    assert (default["version"], default["min_workers"]) == ("1.0", 1)


def test_scaling_under_load(station: Station, scale: Scale, report: Report) -> None:
    """Up and down, 300 times: nobody who asks notices, and no command fails."""
    with station.loaded("digest", scale.connections) as tally:
        for turn in range(300 if scale.full else 8):
            station.kit("scale", "digest", ("3", "2", "1", "2")[turn % 4], "--port", station.port)
        station.kit("scale", "digest", "1", "--port", station.port)
    report("scale up and down, 300 times", tally)
    assert (tally.wrong, tally.refused, tally.lost) == (0, 0, 0)
