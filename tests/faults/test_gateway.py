"""The same faults behind a gateway, whose callers try nothing twice: httpx2 and curl."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults.conftest import Scale
from tests.faults.load import Tally, expected
from tests.faults.servers import Gateway, Station, gateway, served
from tests.faults.worker_faults import FAULTS, MODELS, nobody_up
from tests.integration.kit import wait_for

Note = Callable[[str, str, Tally], None]
QUICK = ("digest",)
SLOWER = [name for name, (model, _) in FAULTS.items() if model not in QUICK]


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory, scale: Scale) -> Iterator[Station]:
    models = MODELS if scale.full else QUICK
    root = tmp_path_factory.mktemp("gateway")
    with served(root, *models, "closing", "queueing", secure=True) as running:
        yield running


@pytest.fixture(scope="module")
def front(station: Station) -> Iterator[Gateway]:
    with gateway(station.kit, "torchserve") as running:
        yield running


@pytest.fixture
def report(note: Note) -> Callable[[str, Tally], None]:
    """Note the figures, and fail if an answer was wrong or lost."""

    def keep(fault: str, tally: Tally) -> None:
        note("gateway + torchserve", fault, tally)
        assert (tally.wrong, tally.lost) == (0, 0), str(tally)

    return keep


@pytest.mark.parametrize(
    "fault",
    [pytest.param(one, marks=[pytest.mark.faults] if one in SLOWER else []) for one in FAULTS],
)
def test_no_answer_is_wrong_or_lost(
    station: Station,
    front: Gateway,
    scale: Scale,
    report: Callable[[str, Tally], None],
    fault: str,
) -> None:
    model, inject = FAULTS[fault]
    with front.loaded(model, scale.connections) as tally:
        time.sleep(scale.seconds / 4)
        inject(lambda: station.pids(model))
        time.sleep(scale.seconds * 3 / 4)
    report(fault, tally)
    assert tally.right > 0
    wait_for(lambda: station.is_whole(model), f"the workers of {model}")


def test_a_front_end_that_was_killed_is_waited_for(
    station: Station, front: Gateway, scale: Scale, report: Callable[[str, Tally], None]
) -> None:
    restarts = station.state.restarts
    with front.loaded("digest", scale.connections) as tally:
        time.sleep(scale.seconds / 2)
        os.kill(station.front_end, signal.SIGKILL)
        wait_for(lambda: station.state.restarts > restarts and station.state.ready, "it to be back")
        time.sleep(scale.seconds / 2)
    report("front end killed (-9)", tally)
    assert tally.right > 0


def test_a_model_whose_workers_stay_down_is_refused_and_not_waited_for(
    station: Station, front: Gateway, scale: Scale, report: Callable[[str, Tally], None]
) -> None:
    with nobody_up(station):
        curl(front, "closing")  # the first waits: a worker could be back soon
        with front.loaded("closing", scale.connections) as tally:
            time.sleep(scale.seconds)
            asked = curl(front, "closing")
    report("no worker comes up", tally)
    assert tally.right == 0
    assert (asked["status"], asked["code"]) == (503, "no-worker-up")
    if scale.full:  # the promise; elsewhere other tests share the cores
        assert tally.slowest < 1.0
    wait_for(lambda: station.is_whole("closing"), "its workers to come up again")


def test_a_full_queue_refuses_at_once(
    station: Station, front: Gateway, scale: Scale, report: Callable[[str, Tally], None]
) -> None:
    blocked = station.kit.root / "blocked"
    blocked.touch()
    try:
        with front.loaded("queueing", 32) as tally:
            wait_for(lambda: tally.refused > 32, "the queue to be full")
            asked = curl(front, "queueing")
            blocked.unlink()
            time.sleep(scale.seconds / 4)
    finally:
        blocked.unlink(missing_ok=True)
    report("queue full", tally)
    assert (asked["status"], asked["code"]) == (503, "queue-full")
    assert tally.right > 0


def curl(front: Gateway, model: str) -> dict[str, object]:
    """Return the problem that curl is told."""
    command = ["curl", "-s", "--data-binary", "a request", front.url(model)]
    said = subprocess.run(command, capture_output=True, check=True, timeout=60)
    values: dict[str, object] = json.loads(said.stdout)
    return values


def test_curl_is_answered(front: Gateway) -> None:
    command = ["curl", "-sf", "--data-binary", "a request", front.url("digest")]
    said = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert said.stdout == expected(b"a request")
