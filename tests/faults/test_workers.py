"""Workers that are killed, stopped, run out of memory, raise, hang, exit, or do not come up."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from marsmith.server.worker_reviver import PATIENCE
from tests.faults.conftest import Scale
from tests.faults.load import Tally, expected
from tests.faults.servers import Station, served
from tests.faults.worker_faults import MODELS, cases, nobody_up, under
from tests.integration.kit import wait_for

Report = Callable[[str, Tally], None]
QUICK = ("digest",)


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory, scale: Scale) -> Iterator[Station]:
    models = (*MODELS, "given_up") if scale.full else QUICK
    with served(tmp_path_factory.mktemp("workers"), *models, "closing") as running:
        yield running


@pytest.mark.parametrize("fault", cases(QUICK))
def test_no_answer_is_wrong_or_lost(
    station: Station, scale: Scale, report: Report, fault: str
) -> None:
    report(fault, under(fault, station, station.loaded, scale))


def test_a_model_without_workers_is_refused_and_not_waited_for(
    station: Station, scale: Scale, report: Report
) -> None:
    with nobody_up(station), station.loaded("closing", scale.connections) as tally:
        time.sleep(scale.seconds)
    report("no worker comes up", tally)
    assert tally.right == 0
    other = [one for one in tally.reasons if not one.startswith("refused: 503 closing 1.0 ")]
    assert other == []
    if scale.full:  # the promise; elsewhere other tests share the cores
        assert tally.slowest < 1.0
    wait_for(lambda: station.is_whole("closing"), "its workers to come up again")
    with station.client() as client:
        assert client.predict("closing", b"again").body == expected(b"again")


@pytest.mark.faults
def test_workers_that_torchserve_gave_up_are_started_anew(
    station: Station, scale: Scale, report: Report
) -> None:
    """Its model-config lets TorchServe try for a second; then nobody but Marsmith does."""
    shut = station.kit.root / "shut"
    shut.touch()
    for pid in station.pids("given_up"):
        os.kill(pid, signal.SIGKILL)
    time.sleep(PATIENCE + 15)  # the first time that they are started anew is in vain, too
    shut.unlink()
    with station.loaded("given_up", scale.connections) as tally:
        wait_for(lambda: station.is_whole("given_up"), "its workers to be started anew", 90)
        time.sleep(scale.seconds)
    report("workers that TorchServe gave up", tally)
    assert tally.right > 0
    with station.client() as client:
        (described,) = client.describe("given_up")
    assert (described.min_workers, described.max_workers) == (2, 2)
