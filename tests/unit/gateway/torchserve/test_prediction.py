"""What a TorchServe's failures mean for a caller, against a real HTTP server that fails."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from marsmith.answers.messages import Request
from marsmith.client import tokens
from marsmith.gateway.backend import Answer, Call
from marsmith.gateway.refusals import GatewayError
from marsmith.gateway.torchserve import downtime, prediction
from marsmith.gateway.torchserve.batches import Batches
from marsmith.gateway.torchserve.prediction import Prediction
from marsmith.gateway.torchserve.servers import Servers
from marsmith.gateway.torchserve.targets import Target
from marsmith.server.lookup import no_server
from tests.codes import coded, tells
from tests.unit.answering import Reply, Server
from tests.unit.client.test_faults import REFUSED, answer_well, hang_up, speaking
from tests.unit.client.test_http import version, worker

pytestmark = pytest.mark.processes

ASK = "/predictions/digits"
_Result = TypeVar("_Result")


def refusal(status: int, kind: str, message: str) -> Reply:
    values = {"code": status, "type": kind, "message": message}
    return Reply(status, json.dumps(values, indent=2).encode())


DIED = refusal(500, "InternalServerException", "Worker died.")
NO_MEMORY = refusal(507, "InternalServerException", "Out of resources")
FAILED = refusal(503, "InternalServerException", "Prediction failed")
NOT_TAKEN = refusal(503, "ServiceUnavailableException", 'Model "digits" has no worker to serve')
RIGHT = Reply(200, b"7", headers={"x-of-handler": "yes", "x-request-id": "theirs"})


def describe(server: Server, *states: str, batch_size: int = 4, **more: Any) -> None:
    """Let the server serve `digits` with workers in these states."""
    workers = [worker(number, state) for number, state in enumerate(states)]
    described = {**version("digits", "1.0", *workers), "batchSize": batch_size, **more}
    server.reply("/models?limit=100", {"models": [{"modelName": "digits"}]})
    server.reply("/models/digits/all", [described])
    server.reply("/models/digits", [described])


@pytest.fixture
def torchserve(server: Server) -> Server:
    describe(server, "READY")
    return server


def call(**how: Any) -> Call:
    return Call("digits", Request(b"x", "image/png", {"Host": "gateway"}), "id", **how)


def with_servers(
    work: Callable[[Servers], Coroutine[Any, Any, _Result]], *targets: Target
) -> _Result:
    """Do something with TorchServes that are watched."""

    async def whole() -> _Result:
        servers = Servers(lambda: list(targets), lambda: None)
        await servers.refresh()
        watching = [asyncio.ensure_future(one.watch()) for one in servers.all]
        try:
            return await work(servers)
        finally:
            for task in watching:
                task.cancel()
            for one in servers.all:
                await one.close()

    return asyncio.run(whole())


def asked(*servers: Server, key_file: Path | None = None, **how: Any) -> Answer:
    """Ask `digits` once."""
    targets = [Target(one.url, one.url, key_file) for one in servers]
    return with_servers(
        lambda behind: Prediction(call(**how), behind, Batches()).answer(), *targets
    )


def asks(server: Server, path: str = ASK) -> int:
    return server.paths.count(f"POST {path}")


def test_an_answer_is_passed_on_without_what_is_of_the_connection(torchserve: Server) -> None:
    torchserve.replies[ASK] = [RIGHT]
    answer = asked(torchserve)
    assert (answer.response.status, answer.response.body, answer.version) == (200, b"7", "1.0")
    assert answer.response.headers["x-of-handler"] == "yes"
    assert {"x-request-id", "content-length", "connection"} & set(answer.response.headers) == set()
    sent = next(one for one in torchserve.requests if one.method == "POST")
    assert (sent.body, sent.content_type) == (b"x", "image/png")


def test_bytes_that_curl_called_a_form_are_sent_as_bytes(torchserve: Server) -> None:
    torchserve.replies[ASK] = [RIGHT]
    told = {"Content-Type": "application/x-www-form-urlencoded"}
    given = Call("digits", Request(b"x"), "id", told=told)
    with_servers(
        lambda behind: Prediction(given, behind, Batches()).answer(),
        Target(torchserve.url, torchserve.url),
    )
    sent = next(one for one in torchserve.requests if one.method == "POST")
    assert sent.content_type == "application/octet-stream"


@pytest.mark.parametrize(
    ("how", "path"),
    [
        ({"version": "2.0"}, "/predictions/digits/2.0"),
        ({"version": "2.0", "path": "v1/chat"}, "/predictions/digits/2.0/v1/chat"),
        ({"explain": True}, "/explanations/digits"),
    ],
)
def test_what_is_asked_for_is_in_the_path(
    torchserve: Server, how: dict[str, Any], path: str
) -> None:
    torchserve.replies[path] = [RIGHT]
    assert asked(torchserve, **how).response.ok
    assert asks(torchserve, path) == 1


@pytest.mark.parametrize("status", [400, 404, 413, 418, 500, 503])
def test_a_status_of_the_handler_is_its_answer(torchserve: Server, status: int) -> None:
    torchserve.replies[ASK] = [Reply(status, b'{"error": "no picture"}')]
    assert asked(torchserve).response.status == status
    assert asks(torchserve) == 1


@pytest.mark.parametrize("death", [DIED, NO_MEMORY])
def test_a_request_whose_worker_died_is_sent_once_more_and_not_twice(
    torchserve: Server, death: Reply
) -> None:
    torchserve.replies[ASK] = [death, RIGHT]
    assert asked(torchserve).response.body == b"7"
    torchserve.requests.clear()
    torchserve.replies[ASK] = [death]
    with pytest.raises(GatewayError, check=coded("worker-died")):
        asked(torchserve)
    assert asks(torchserve) == 2


def test_batch_mates_of_a_bad_request_are_asked_alone(torchserve: Server) -> None:
    torchserve.replies[ASK] = [FAILED, RIGHT]
    assert asked(torchserve).response.body == b"7"
    torchserve.requests.clear()
    torchserve.replies[ASK] = [FAILED]
    assert asked(torchserve).response.complaint == "Prediction failed"
    assert asks(torchserve) == 2


def test_a_request_that_had_no_batch_mates_is_asked_once(server: Server) -> None:
    describe(server, "READY", batch_size=1)
    server.replies[ASK] = [FAILED]
    assert asked(server).response.complaint == "Prediction failed"
    assert asks(server) == 1


@pytest.mark.parametrize(("states", "code"), [(["READY"], "queue-full"), ([], "no-worker-up")])
def test_what_is_not_taken_is_refused_at_once_with_its_reason(
    server: Server, states: list[str], code: str
) -> None:
    describe(server, *states)
    server.replies[ASK] = [NOT_TAKEN]
    with pytest.raises(GatewayError, check=coded(code)) as caught:
        asked(server)
    assert (caught.value.status, asks(server)) == (503, 1)
    assert caught.value.retry_after


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("ModelNotFoundException", "model-unknown"),
        ("ModelVersionNotFoundException", "version-unknown"),
    ],
)
def test_what_is_not_served_is_unknown(torchserve: Server, kind: str, code: str) -> None:
    torchserve.replies[ASK] = [refusal(404, kind, "not found")]
    with pytest.raises(GatewayError, check=coded(code)):
        asked(torchserve)


@pytest.mark.parametrize("states", [[], ["UNLOADING"]])
def test_a_wait_for_workers_that_are_none_or_stay_down_ends(
    server: Server, monkeypatch: pytest.MonkeyPatch, states: list[str]
) -> None:
    monkeypatch.setattr(downtime, "AWAY", 0.7 if states else 60.0)
    describe(server, *states)
    server.silent = {ASK}
    begun = time.monotonic()
    with pytest.raises(GatewayError, check=coded("no-worker-up")):
        asked(server)
    assert time.monotonic() - begun < 3  # 0.5 to 1 s; the bound is for busy machines


@pytest.mark.parametrize("waits_at_torchserve", [True, False])
def test_a_worker_that_is_started_again_is_waited_for(
    server: Server, waits_at_torchserve: bool
) -> None:
    describe(server, "UNLOADING")
    server.replies[ASK] = [RIGHT] if waits_at_torchserve else [NOT_TAKEN] * 6 + [RIGHT]
    server.silent = {ASK} if waits_at_torchserve else set()
    threading.Timer(1.2, server.released.set).start()
    begun = time.monotonic()
    assert asked(server).response.body == b"7"
    assert time.monotonic() - begun > 1.0  # two checks found no worker up


@pytest.mark.parametrize(
    ("states", "seconds", "code", "times"),
    [
        (["READY"], 0.2, "answer-late", 1),
        (["READY"], 1000.0, "worker-died", 2),
        (["UNLOADING"], 1.0, "worker-died", 2),  # the time for a new worker is not the handler's
    ],
)
def test_a_worker_that_let_its_time_pass_is_told_from_one_that_ended(
    server: Server, states: list[str], seconds: float, code: str, times: int
) -> None:
    describe(server, *states, responseTimeout=seconds)
    server.replies[ASK] = [DIED]
    server.silent = {ASK}

    def come_up() -> None:
        describe(server, "READY", responseTimeout=seconds)
        server.released.set()

    threading.Timer(1.2, come_up).start()
    with pytest.raises(GatewayError, check=coded(code)):
        asked(server)
    assert asks(server) == times


def test_a_worker_that_fails_to_load_has_not_died_of_a_request(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downtime, "AWAY", 0.5)
    describe(server, "UNLOADING")
    server.replies[ASK] = [DIED]
    with pytest.raises(GatewayError, check=coded("no-worker-up")):
        asked(server)
    assert asks(server) == 1


def test_who_shared_a_batch_with_a_late_request_is_asked_alone(server: Server) -> None:
    describe(server, "READY", responseTimeout=0.2)
    server.replies[ASK] = [DIED, DIED, RIGHT]
    server.silent = {ASK}
    threading.Timer(0.5, server.released.set).start()

    async def ask(servers: Servers) -> list[bytes]:
        batches = Batches()
        asking = (Prediction(call(), servers, batches).answer() for _ in range(2))
        return [one.response.body for one in await asyncio.gather(*asking)]

    assert with_servers(ask, Target(server.url, server.url)) == [b"7", b"7"]


def test_the_address_that_was_named_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"

    async def away(servers: Servers) -> str:
        return servers.away().message

    assert tells(with_servers(away, Target(url, f"{url}/management")), url)


def test_nobody_waits_beyond_the_deadline(torchserve: Server) -> None:
    torchserve.silent = {ASK}
    with pytest.raises(GatewayError, check=coded("answer-late")):
        asked(torchserve, deadline=time.monotonic() + 0.3)


@pytest.mark.parametrize(("hang_ups", "code"), [(1, None), (2, "connection-lost")])
def test_a_lost_connection_costs_one_more_try(
    torchserve: Server, hang_ups: int, code: str | None
) -> None:
    doings = [hang_up, hang_up][:hang_ups] + [answer_well] * (2 - hang_ups)
    with speaking(*doings) as url:
        target = Target(url, torchserve.url)

        def ask(servers: Servers) -> Coroutine[Any, Any, Answer]:
            return Prediction(call(), servers, Batches()).answer()

        if code is None:
            assert with_servers(ask, target).response.body == b"7"
            return
        with pytest.raises(GatewayError, check=coded(code)):
            with_servers(ask, target)


def test_a_torchserve_that_is_away_is_waited_for_a_while(
    torchserve: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "AWAY", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    begun = time.monotonic()
    with pytest.raises(GatewayError, check=coded("server-away")) as caught:
        with_servers(
            lambda servers: Prediction(call(), servers, Batches()).answer(),
            Target(url, torchserve.url),
        )
    assert time.monotonic() - begun >= 0.5
    assert caught.value.retry_after


def test_of_two_the_one_that_answers_gets_all(torchserve: Server) -> None:
    torchserve.replies[ASK] = [RIGHT]
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}"

    async def ask(servers: Servers) -> list[Answer]:
        return [await Prediction(call(), servers, Batches()).answer() for _ in range(6)]

    targets = Target(dead, dead), Target(torchserve.url, torchserve.url)
    assert [one.response.body for one in with_servers(ask, *targets)] == [b"7"] * 6


def test_two_share_the_requests(torchserve: Server) -> None:
    torchserve.replies[ASK] = [RIGHT]
    target = Target(torchserve.url, torchserve.url)

    async def picked(servers: Servers) -> set[int]:
        until = time.monotonic() + 1
        return {servers.all.index(await servers.pick(until)) for _ in range(4)}

    assert with_servers(picked, target, target) == {0, 1}


def test_a_key_that_was_rotated_is_read_again(torchserve: Server, tmp_path: Path) -> None:
    torchserve.replies[ASK] = [RIGHT]
    key_file = tmp_path / "key_file.json"

    def write(key: str) -> None:
        keys = {"inference": {"key": key}, "management": {"key": "m"}}
        key_file.write_text(json.dumps(keys))
        torchserve.guard = {ASK: key}, json.dumps(REFUSED).encode()

    async def ask(servers: Servers) -> list[bytes]:
        bodies = []
        for key in ("i-1", "i-2"):
            write(key)
            asking = (Prediction(call(), servers, Batches()).answer() for _ in range(4))
            bodies += [one.response.body for one in await asyncio.gather(*asking)]
        return bodies

    write("i-1")
    target = Target(torchserve.url, torchserve.url, key_file)
    assert with_servers(ask, target) == [b"7"] * 8


def test_a_caller_never_sees_that_the_gateways_key_is_refused(
    torchserve: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_PATIENCE", 0.1)
    torchserve.replies[ASK] = [RIGHT]
    torchserve.guard = {ASK: "other"}, json.dumps(REFUSED).encode()
    keys = {"inference": {"key": "i"}, "management": {"key": "m"}}
    (tmp_path / "key_file.json").write_text(json.dumps(keys))
    with pytest.raises(GatewayError, check=coded("server-away")):
        asked(torchserve, key_file=tmp_path / "key_file.json", deadline=time.monotonic() + 60)


def test_a_torchserve_whose_key_nobody_here_has_is_told(torchserve: Server) -> None:
    torchserve.replies[ASK] = [RIGHT]
    torchserve.guard = {ASK: "other"}, json.dumps(REFUSED).encode()
    with pytest.raises(GatewayError, check=coded("torchserve-token")):
        asked(torchserve)
    torchserve.guard = {"/models?limit=100": "other"}, json.dumps(REFUSED).encode()

    async def away(servers: Servers) -> str:
        await servers.refresh()
        return servers.away().code

    assert with_servers(away, Target(torchserve.url, torchserve.url)) == "torchserve-token"


def test_a_torchserve_that_was_started_anew_is_asked_with_its_new_keys(
    torchserve: Server, tmp_path: Path
) -> None:
    torchserve.replies[ASK] = [RIGHT]
    running = [Target(torchserve.url, torchserve.url)]

    def targets() -> list[Target]:
        if not running:
            raise no_server()
        return running

    async def run() -> bytes:
        servers = Servers(targets, lambda: None)
        (one,) = servers.all
        await servers.refresh()
        one.is_away("it ended")
        running.clear()
        assert await one.look()
        one.is_away("it ended again")
        keys = {"inference": {"key": "i"}, "management": {"key": "m"}}
        (tmp_path / "key_file.json").write_text(json.dumps(keys))
        torchserve.guard = {ASK: "i"}, json.dumps(REFUSED).encode()
        running.append(Target(torchserve.url, torchserve.url, tmp_path / "key_file.json"))
        await servers.refresh()
        assert await one.look()
        answer = await Prediction(call(), servers, Batches()).answer()
        await one.close()
        return answer.response.body

    assert asyncio.run(run()) == b"7"
