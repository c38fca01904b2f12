"""A request that waits for a model without workers is refused; against a real, slow HTTP server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

import pytest

from marsmith.client import Client, Retries
from marsmith.client.retries import Deadline
from marsmith.client.workers_up import NoWorkerUpError, WorkersUp
from marsmith.core.errors import DeadlineError, RefusedError
from tests.codes import tells
from tests.unit.answering import Reply, Server

MODELS = "/models/digits"


def description(*states: str) -> list[dict[str, object]]:
    """Return what the management API says of a model whose workers are in these states."""
    workers = [{"id": "9000", "status": one, "pid": 1, "memoryUsage": 0} for one in states]
    return [
        {
            "modelName": "digits",
            "modelVersion": "1.0",
            "minWorkers": 1,
            "maxWorkers": 1,
            "batchSize": 1,
            "maxBatchDelay": 1,
            "workers": workers,
        }
    ]


@pytest.fixture
def server(server: Server) -> Server:
    server.replies["/slow/predictions/digits"] = [Reply(200, b"late")]
    return server


def ask(server: Server, **how: float | None) -> Client:
    retries = Retries(attempts=50, first=0.001, longest=0.001)
    return Client(f"{server.url}/slow", server.url, retries=retries, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("states", "values"),
    [
        (["UNLOADING"], ["UNLOADING"]),
        (["LOADING", "UNLOADING"], [2, "LOADING", "UNLOADING"]),
        ([], []),
    ],
)
def test_a_wait_for_a_model_without_workers_is_refused(
    server: Server, states: list[str], values: list[object]
) -> None:
    server.reply(MODELS, description(*states))
    with ask(server, worker_patience=0.05) as client:
        answer = client.predict("digits", b"x")
    assert answer.status == 503
    assert answer.content_type == "application/json"
    assert json.loads(answer.body)["code"] == 503
    assert tells(answer.complaint, "digits", *values)
    assert server.paths.count("POST /slow/predictions/digits") == 1  # it does not ask again


def test_who_comes_next_looks_before_anything_is_sent(server: Server) -> None:
    """TorchServe would keep each in its queue, until nobody else gets in."""
    server.reply(MODELS, description("UNLOADING"))
    with ask(server, worker_patience=0.05) as client:
        assert [client.predict("digits", b"x").status for _ in range(4)] == [503] * 4
        assert server.paths.count("POST /slow/predictions/digits") == 1
        server.reply(MODELS, description("READY"))
        server.released.set()
        time.sleep(0.3)  # what was seen is no longer held to be so
        assert client.predict("digits", b"x").body == b"late"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, json.dumps(description("UNLOADING", "READY")).encode()),
        Reply(200, b"[]"),
        Reply(200, b"another server"),
        Reply(403, b"{}"),
    ],
)
def test_a_worker_that_is_up_or_unknown_is_waited_for(server: Server, reply: Reply) -> None:
    server.replies[MODELS] = [reply]
    threading.Timer(0.5, server.released.set).start()
    with ask(server, worker_patience=0.05) as client:
        assert client.predict("digits", b"x").body == b"late"
    assert f"GET {MODELS}" in server.paths


def test_without_patience_for_workers_nobody_looks(server: Server) -> None:
    server.reply(MODELS, description())
    with ask(server, worker_patience=None) as client, pytest.raises(DeadlineError):
        client.predict("digits", b"x", deadline=0.3)
    assert f"GET {MODELS}" not in server.paths


def test_many_who_wait_check_once_for_all() -> None:
    checks = []

    def describe(model: str, version: str | None, _: Deadline) -> object:
        checks.append((model, version))
        time.sleep(0.1)
        return description()

    workers = WorkersUp(describe)
    found = [workers.check(("digits", None)) for _ in range(20)]
    downs = [one.result() for one in found]
    assert all(one is not None and tells(one.reason, "digits") for one in downs)
    assert checks == [("digits", None)]


def test_what_cannot_be_seen_is_no_complaint() -> None:
    def refused(_: str, __: str | None, ___: Deadline) -> object:
        raise RefusedError("no", "none", 400)

    assert WorkersUp(refused).check(("digits", None)).result() is None


def test_a_check_never_waits_and_its_result_ends_the_waiting() -> None:
    over = threading.Event()

    def describe(*_: object) -> object:
        over.wait(10)
        return description()

    check = WorkersUp(describe).for_request("digits", None, 5.0)
    assert check is not None
    assert check.pause == 5.0
    begun = time.monotonic()
    check.look()
    check.look()
    assert time.monotonic() - begun < 1.0
    assert check.pause < 1.0
    over.set()

    def ends() -> bool:
        try:
            check.look()
        except NoWorkerUpError:
            return True
        return False

    wait_until(ends)


def test_a_request_for_one_model_does_not_wait_for_the_check_of_another() -> None:
    over = threading.Event()

    def describe(model: str, _: str | None, __: Deadline) -> object:
        if model == "slow":
            over.wait(10)
        return description("READY")

    workers = WorkersUp(describe)
    slow = workers.check(("slow", None))
    assert workers.check(("digits", None)).result() is None
    assert not slow.done()
    over.set()
    assert slow.result() is None


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.001)
