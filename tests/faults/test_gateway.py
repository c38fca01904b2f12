"""The same faults behind a gateway, whose callers try nothing twice: httpx2 and curl."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults.conftest import Scale
from tests.faults.load import Tally, expected
from tests.faults.servers import Gateway, Station, gateway, served
from tests.faults.worker_faults import MODELS, cases, nobody_up, under
from tests.integration.kit import wait_for

Report = Callable[[str, Tally], None]
QUICK = ("digest",)


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


@pytest.mark.parametrize("fault", cases(QUICK))
def test_no_answer_is_wrong_or_lost(
    station: Station, front: Gateway, scale: Scale, gateway_report: Report, fault: str
) -> None:
    gateway_report(fault, under(fault, station, front.loaded, scale))


def test_a_front_end_that_was_killed_is_waited_for(
    station: Station, front: Gateway, scale: Scale, gateway_report: Report
) -> None:
    restarts = station.state.restarts
    with front.loaded("digest", scale.connections) as tally:
        time.sleep(scale.seconds / 2)
        os.kill(station.front_end, signal.SIGKILL)
        wait_for(lambda: station.state.restarts > restarts and station.state.ready, "it to be back")
        time.sleep(scale.seconds / 2)
    gateway_report("front end killed (-9)", tally)
    assert tally.right > 0


def test_a_model_whose_workers_stay_down_is_refused_and_not_waited_for(
    station: Station, front: Gateway, scale: Scale, gateway_report: Report
) -> None:
    with nobody_up(station):
        front.curl("closing")  # the first waits: a worker could be back soon
        with front.loaded("closing", scale.connections) as tally:
            time.sleep(scale.seconds)
            refusal = front.problem("closing")
    gateway_report("no worker comes up", tally)
    assert tally.right == 0
    assert refusal == (503, "no-worker-up")
    if scale.full:  # the promise; elsewhere other tests share the cores
        assert tally.slowest < 1.0
    wait_for(lambda: station.is_whole("closing"), "its workers to come up again")


def test_a_full_queue_refuses_at_once(front: Gateway, scale: Scale, gateway_report: Report) -> None:
    tally, refusal = front.with_full_queue(scale.seconds / 4)
    gateway_report("queue full", tally)
    assert refusal == (503, "queue-full")
    assert tally.right > 0


def test_curl_is_answered(front: Gateway) -> None:
    assert front.curl("digest") == expected(b"a request")
