"""The same faults on a gateway's own workers: no Java, and callers who try nothing twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from marsmith.client import Client, Retries
from marsmith.server.process import KEY_FILE
from tests.faults.archives import project
from tests.faults.conftest import Scale
from tests.faults.load import Tally, expected
from tests.faults.servers import Gateway, Station, gateway
from tests.faults.worker_faults import MODELS, cases, nobody_up, under
from tests.integration.kit import wait_for

Note = Callable[[str, str, Tally], None]
Report = Callable[[str, Tally], None]


class OnePort(Station):
    """Its management is on the same port."""

    def client(self, retries: Retries | None = None) -> Client:
        url = f"http://127.0.0.1:{self.port}"
        key_file = Path(self.state.folder) / KEY_FILE
        return Client(url, management_url=url, key_file=key_file, retries=retries)


QUICK = ("digest", "raising", "exiting")


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, scale: Scale) -> Iterator[Gateway]:
    models = MODELS if scale.full else QUICK
    names = (*models, "closing", "queueing", "souring")
    kit = project(tmp_path_factory.mktemp("local"), *names)
    with gateway(kit, "local") as running:
        yield running


@pytest.fixture(scope="module")
def station(front: Gateway) -> Station:
    """The gateway, as Marsmith's own commands see it."""
    return OnePort(front.kit, front.port)


@pytest.mark.parametrize("fault", cases(QUICK))
def test_no_answer_is_wrong_or_lost(
    station: Station, front: Gateway, scale: Scale, gateway_report: Report, fault: str
) -> None:
    gateway_report(fault, under(fault, station, front.loaded, scale))


def test_workers_outlive_the_web_process(
    station: Station, front: Gateway, scale: Scale, note: Note
) -> None:
    before = station.pids("digest")
    restarts = station.state.restarts
    with front.loaded("digest", scale.connections) as tally:
        time.sleep(scale.seconds / 2)
        os.kill(station.front_end, signal.SIGKILL)
        wait_for(lambda: station.state.restarts > restarts and station.state.ready, "it to be back")
        time.sleep(scale.seconds / 2)
    note("gateway + local", "web process killed (-9)", tally)
    # What was open at that moment is lost with the process, one request a connection.
    assert tally.wrong == 0
    assert tally.lost <= scale.connections, str(tally)
    assert station.state.restarts == restarts + 1
    assert tally.right > 0
    assert station.pids("digest") == before


def test_a_web_process_that_is_stuck_is_ended_and_started_again(station: Station) -> None:
    before, stuck = station.pids("digest"), station.front_end
    os.kill(stuck, signal.SIGSTOP)
    wait_for(lambda: station.front_end != stuck and station.state.ready, "it to be back")
    assert station.pids("digest") == before


def test_a_model_without_workers_keeps_no_web_process_from_coming_back(
    station: Station, front: Gateway, scale: Scale, gateway_report: Report
) -> None:
    restarts, web_process = station.state.restarts, station.front_end
    with nobody_up(station):
        wait_for(lambda: b"no-worker-up" in front.curl("closing"), "the refusals")
        os.kill(web_process, signal.SIGKILL)
        wait_for(lambda: station.state.restarts > restarts and station.state.ready, "it to be back")
        with front.loaded("digest", scale.connections) as tally:
            wait_for(lambda: tally.right > 0, "right answers")
        assert front.problem("closing") == (503, "no-worker-up")
    gateway_report("web process killed (-9), another model cannot be loaded", tally)
    assert station.state.restarts == restarts + 1
    wait_for(lambda: station.is_whole("closing"), "its workers to come up again")


def test_a_model_that_fails_on_its_sample_brings_no_second_restart(
    station: Station, front: Gateway
) -> None:
    restarts, web_process = station.state.restarts, station.front_end
    sour = station.kit.root / "sour"
    sour.touch()
    try:
        os.kill(web_process, signal.SIGKILL)
        wait_for(lambda: station.state.restarts > restarts and station.state.ready, "it to be back")
        assert front.curl("digest") == expected(b"a request")
    finally:
        sour.unlink()
    assert station.state.restarts == restarts + 1


def test_a_model_without_workers_is_refused_and_not_waited_for(
    station: Station, front: Gateway, scale: Scale, gateway_report: Report
) -> None:
    with nobody_up(station):
        wait_for(lambda: b"no-worker-up" in front.curl("closing"), "the refusals")
        with front.loaded("closing", scale.connections) as tally:
            time.sleep(scale.seconds / 2)
    gateway_report("no worker comes up", tally)
    assert tally.right == 0
    wait_for(lambda: station.is_whole("closing"), "its workers to come up again")


def test_a_full_queue_refuses_at_once(front: Gateway, scale: Scale, gateway_report: Report) -> None:
    tally, refusal = front.with_full_queue(scale.seconds / 4)
    gateway_report("queue full", tally)
    assert refusal == (503, "queue-full")
    assert tally.right > 0


def test_workers_that_need_neither_torch_nor_torchserve_have_neither(station: Station) -> None:
    for pid in station.pids("digest"):
        mapped = {one.path for one in psutil.Process(pid).memory_maps()}
        assert not any("/torch/" in path for path in mapped)
