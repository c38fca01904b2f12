"""marsmith/client/http.py, against a real HTTP server on a free loopback port."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from marsmith.answers.messages import Response
from marsmith.client import ONCE, Client
from marsmith.client.tokens import REFUSAL
from marsmith.core.errors import ClientError, RefusedError, UnreachableError
from tests.codes import coded
from tests.unit.answering import Reply, Request, Server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, server.url, timeout=5, retries=ONCE) as opened:
        yield opened


def worker(number: int, state: str = "READY") -> dict[str, Any]:
    return {"id": str(number), "status": state, "pid": 100 + number, "memoryUsage": 1000}


def version(name: str, number: str = "1.0", *workers: dict[str, Any]) -> dict[str, Any]:
    return {
        "modelName": name,
        "modelVersion": number,
        "minWorkers": 1,
        "maxWorkers": 2,
        "batchSize": 4,
        "maxBatchDelay": 2,
        "workers": list(workers),
    }


# ---- predictions


def test_a_prediction_sends_the_raw_body_and_returns_the_answer(
    server: Server, client: Client
) -> None:
    server.replies["/predictions/digits"] = [Reply(200, b'{"label": "7"}')]
    answer = client.predict("digits", b"\x89PNG\x00")
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert answer.ok
    assert answer.json() == {"label": "7"}
    assert server.requests == [
        Request("POST", "/predictions/digits", b"\x89PNG\x00", "application/octet-stream")
    ]


def test_an_empty_body_is_sent_too(server: Server, client: Client) -> None:
    server.reply("/predictions/digits", 1)
    assert client.predict("digits", b"").ok
    assert server.requests[0].body == b""


@pytest.mark.parametrize("status", [301, 400, 404, 413, 500, 503, 507])
def test_a_refused_prediction_is_an_answer_with_its_status(
    server: Server, client: Client, status: int
) -> None:
    server.reply("/predictions/digits", {"code": status, "message": "no"}, status=status)
    answer = client.predict("digits", b"x")
    assert (answer.status, answer.ok) == (status, False)
    assert answer.json()["message"] == "no"


def test_a_models_name_is_quoted(server: Server, client: Client) -> None:
    server.reply("/predictions/a%20b%2F..%3Fc%23", 1)
    assert client.predict("a b/..?c#", b"x").ok
    assert client.predict("\udcff", b"x").status == 404  # as a shell may pass it on


@pytest.mark.parametrize(
    ("body", "value"),
    [(b"7", 7), (b"plain", "plain"), (b"", ""), (b"\xff", "\ufffd"), ("ü".encode(), "ü")],
)
def test_an_answer_that_is_no_json_is_text(body: bytes, value: object) -> None:
    assert Response(200, "OK", {}, body).values == value


def test_proxies_from_the_environment_are_not_used(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.reply("/predictions/digits", 1)
    with Client(server.url, server.url) as client:
        assert client.predict("digits", b"x").ok


# ---- no answer at all


def test_nothing_at_the_address_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with Client(url, url) as client, pytest.raises(UnreachableError) as caught:
        client.predict("digits", b"x")
    assert url in caught.value.message
    assert "marsmith serve" in caught.value.hint


def test_a_server_that_does_not_answer_in_time_is_a_client_error(server: Server) -> None:
    with (
        Client(f"{server.url}/slow", server.url, timeout=0.1) as client,
        pytest.raises(ClientError) as caught,
    ):
        client.predict("digits", b"x")
    assert caught.value.code == "deadline"


def test_a_server_that_hangs_up_within_its_answer_is_unreachable(
    server: Server, client: Client
) -> None:
    server.replies["/predictions/digits"] = [
        Reply(200, b"part", headers={"content-length": "100", "connection": "close"})
    ]
    with pytest.raises(UnreachableError):
        client.predict("digits", b"x")


@contextmanager
def saying(data: bytes) -> Iterator[str]:
    """Run a server that speaks no HTTP: it says `data` and hangs up."""

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join()


@pytest.mark.parametrize("data", [b"", b"SSH-2.0-OpenSSH\r\n"])
def test_a_server_that_speaks_no_http_is_a_client_error(data: bytes) -> None:
    with (
        saying(data) as url,
        Client(url, url, retries=ONCE) as client,
        pytest.raises(ClientError),
    ):
        client.predict("digits", b"x")


def test_an_answer_that_a_handler_compressed_stays_as_it_is(server: Server, client: Client) -> None:
    server.replies["/predictions/digits"] = [
        Reply(200, b"\x1f\x8b", headers={"content-encoding": "gzip"})
    ]
    answer = client.predict("digits", b"x")
    assert (answer.body, answer.headers["content-encoding"]) == (b"\x1f\x8b", "gzip")


# ---- management


def test_a_model_is_described_in_all_its_versions(server: Server, client: Client) -> None:
    first = version("digits", "1.0", worker(9000), worker(9001, "LOADING"))
    server.reply("/models/digits/all", [first, version("digits", "2.0")])
    server.reply("/models/digits", [first])
    one, two = client.describe("digits")
    assert (one.name, one.version, one.default) == ("digits", "1.0", True)
    assert (one.min_workers, one.max_workers, one.batch_size, one.max_batch_delay) == (1, 2, 4, 2)
    assert [(w.id, w.state, w.pid, w.memory) for w in one.workers] == [
        ("9000", "READY", 9100, 1000),
        ("9001", "LOADING", 9101, 1000),
    ]
    assert one.ready_workers == 1
    assert (two.version, two.default, two.ready_workers) == ("2.0", False, 0)


def test_models_are_read_page_by_page_and_sorted(server: Server, client: Client) -> None:
    server.reply("/models?limit=100", {"models": [{"modelName": "b"}], "nextPageToken": "100"})
    server.reply("/models?limit=100&next_page_token=100", {"models": [{"modelName": "a"}]})
    for name in "ab":
        server.reply(f"/models/{name}/all", [version(name)])
        server.reply(f"/models/{name}", [version(name)])
    assert [model.name for model in client.models()] == ["a", "b"]


def test_a_model_that_goes_while_models_are_read_is_left_out(
    server: Server, client: Client
) -> None:
    listed = [{"modelName": "gone"}, {"modelName": "there"}]
    server.reply("/models?limit=100", {"models": listed})
    server.reply("/models/there/all", [version("there")])
    server.reply("/models/there", [version("there")])
    assert [model.name for model in client.models()] == ["there"]
    server.reply("/models/gone/all", {"message": "no"}, status=500)
    with pytest.raises(RefusedError):
        client.models()


def test_no_models_are_an_empty_list(server: Server, client: Client) -> None:
    server.reply("/models?limit=100", {"models": []})
    assert client.models() == []


def test_an_unknown_model_is_refused_in_torchserves_words(server: Server, client: Client) -> None:
    server.reply(
        "/models/digts/all", {"code": 404, "message": "Model not found: digts"}, status=404
    )
    with pytest.raises(RefusedError) as caught:
        client.describe("digts")
    assert caught.value.status == 404
    assert "Model not found: digts" in caught.value.message
    assert "GET /models/digts/all" in caught.value.message


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"no"', b"{}"])
def test_a_refusal_without_words_has_its_status(
    server: Server, client: Client, body: bytes
) -> None:
    server.replies["/models?limit=100"] = [Reply(405, body)]
    with pytest.raises(RefusedError) as caught:
        client.models()
    assert (caught.value.status, "405" in caught.value.message) == (405, True)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b"null", b'{"models": [{}]}'])
def test_another_server_at_the_management_address_is_a_client_error(
    server: Server, client: Client, body: bytes
) -> None:
    server.replies["/models?limit=100"] = [Reply(200, body, "text/html")]
    with pytest.raises(ClientError):
        client.models()


# ---- scaling


def test_scaling_asks_once_and_waits_until_the_workers_are_up(
    server: Server, client: Client
) -> None:
    scaling = "/models/digits?min_worker=2&max_worker=2&synchronous=true"
    server.reply(scaling, {"status": "Workers scaled to 2"})
    server.reply("/models/digits", [version("digits")])
    server.reply(
        "/models/digits/all",
        [version("digits", "1.0", worker(1))],
        [version("digits", "1.0", worker(1), worker(2, "LOADING"))],
        [version("digits", "1.0", worker(1), worker(2))],
    )
    assert client.scale("digits", 2, 2).ready_workers == 2
    assert server.paths.count(f"PUT {scaling}") == 1
    assert server.paths.count("GET /models/digits/all") == 3


def test_scaling_looks_at_the_default_version(server: Server, client: Client) -> None:
    server.reply("/models/digits?min_worker=0&max_worker=1&synchronous=true", {})
    server.reply("/models/digits", [version("digits", "2.0")])
    both = [version("digits", "1.0", worker(1), worker(2)), version("digits", "2.0")]
    server.reply("/models/digits/all", both)
    assert client.scale("digits", 0, 1).version == "2.0"


@pytest.mark.parametrize("timeout", [0.15, 0])
def test_workers_that_do_not_come_up_in_time_are_a_client_error(
    server: Server, client: Client, timeout: float
) -> None:
    server.reply("/models/digits?min_worker=2&max_worker=2&synchronous=true", {})
    server.reply("/models/digits", [version("digits")])
    server.reply("/models/digits/all", [version("digits", "1.0", worker(1))])
    with pytest.raises(ClientError, check=coded("workers-not-up")):
        client.scale("digits", 2, 2, timeout=timeout)


def test_a_refused_scaling_is_an_error(server: Server, client: Client) -> None:
    path = "/models/digits?min_worker=3&max_worker=3&synchronous=true"
    server.reply(path, {"code": 400, "message": "too many"}, status=400)
    with pytest.raises(RefusedError, match="too many"):
        client.scale("digits", 3, 3)


# ---- versions


def test_a_prediction_can_name_a_version(server: Server, client: Client) -> None:
    server.reply("/predictions/digits/2.0", 1)
    assert client.predict("digits", b"x", version="2.0").ok


def test_one_version_is_described_with_whether_it_is_the_default(
    server: Server, client: Client
) -> None:
    server.reply("/models/digits", [version("digits", "1.0")])
    server.reply("/models/digits/2.0", [version("digits", "2.0", worker(1))])
    (model,) = client.describe("digits", "2.0")
    assert (model.version, model.default, model.ready_workers) == ("2.0", False, 1)


def test_a_description_tells_what_waits_and_where_it_came_from(
    server: Server, client: Client
) -> None:
    more = {
        "modelUrl": "digits.mar",
        "responseTimeout": 30,
        "jobQueueStatus": {"remainingCapacity": 93, "pendingRequests": 7},
    }
    server.reply("/models/digits", [version("digits") | more])
    server.reply("/models/digits/all", [version("digits") | more])
    (model,) = client.describe("digits")
    assert (model.url, model.response_timeout, model.pending_requests) == ("digits.mar", 30, 7)


def test_a_version_is_scaled_and_waited_for_by_itself(server: Server, client: Client) -> None:
    server.reply("/models/digits/2.0?min_worker=1&max_worker=1&synchronous=true", {})
    server.reply("/models/digits", [version("digits", "1.0")])
    server.reply(
        "/models/digits/2.0",
        [version("digits", "2.0", worker(1, "LOADING"))],
        [version("digits", "2.0", worker(1))],
    )
    assert client.scale("digits", 1, 1, version="2.0").version == "2.0"


def test_registering_sends_what_was_said_and_nothing_else(server: Server, client: Client) -> None:
    server.reply("/models?url=a+b%26c.mar&synchronous=false", {"status": "registered"})
    client.register("a b&c.mar")
    query = "url=digits.mar&model_name=d&batch_size=4&max_batch_delay=2"
    query += "&response_timeout=30&initial_workers=0&synchronous=true"
    server.reply(f"/models?{query}", {"status": "registered"})
    client.register(
        "digits.mar",
        model_name="d",
        batch_size=4,
        max_batch_delay=2,
        response_timeout=30,
        initial_workers=0,
        synchronous=True,
    )
    first, second = server.paths
    assert first == "POST /models?url=a+b%26c.mar&synchronous=false"
    assert second == f"POST /models?{query}"


def test_what_is_registered_already_is_refused(server: Server, client: Client) -> None:
    answer = {"code": 409, "message": "Model version 1.0 is already registered"}
    server.reply("/models?url=digits.mar&synchronous=false", answer, status=409)
    with pytest.raises(RefusedError, match="already registered") as caught:
        client.register("digits.mar")
    assert caught.value.status == 409


def test_the_default_is_set_and_versions_are_unregistered(server: Server, client: Client) -> None:
    for path in ("/models/digits/2.0/set-default", "/models/digits/1.0", "/models/digits"):
        server.reply(path, {"status": "done"})
    client.set_default("digits", "2.0")
    client.unregister("digits", "1.0")
    client.unregister("digits")
    assert server.paths == [
        "PUT /models/digits/2.0/set-default",
        "DELETE /models/digits/1.0",
        "DELETE /models/digits",
    ]


# ---- what is passed wrongly


def test_a_closed_client_says_so(server: Server) -> None:
    client = Client(server.url, server.url)
    client.close()
    with pytest.raises(ClientError, check=coded("closed-client")):
        client.predict("digits", b"x")


def test_a_name_that_no_url_can_hold_is_no_traceback(client: Client) -> None:
    with pytest.raises(ClientError, check=coded("bad-argument")):
        client.predict("a" * 70_000, b"x")


def test_a_timeout_that_is_none_is_refused(server: Server) -> None:
    with pytest.raises(ClientError, check=coded("bad-argument")):
        Client(server.url, server.url, timeout=0)


@pytest.mark.parametrize("bounds", [(-1, 1), (2, 1)])
def test_workers_that_cannot_be_are_never_asked_for(
    server: Server, client: Client, bounds: tuple[int, int]
) -> None:
    with pytest.raises(ClientError, check=coded("bad-worker-count")):
        client.scale("digits", *bounds)
    assert server.requests == []


def test_a_key_file_may_be_named_as_text(server: Server, tmp_path: Path) -> None:
    server.reply("/predictions/digits", 1)
    with Client(server.url, server.url, key_file=str(tmp_path / "none.json")) as client:
        assert client.predict("digits", b"x").ok


@pytest.mark.parametrize(
    "content", ["{", '{"inference": {"key": "a"}, "management": {"key": "b"}}']
)
def test_a_deadline_holds_while_a_key_file_is_read_again(
    server: Server, tmp_path: Path, content: str
) -> None:
    key_file = tmp_path / "key_file.json"
    key_file.write_text(content)
    server.reply("/predictions/digits", {"code": 400, "message": REFUSAL.decode()}, status=400)
    begun = time.monotonic()
    with Client(server.url, server.url, key_file=key_file) as client, suppress(ClientError):
        client.predict("digits", b"x", deadline=0.3)
    assert time.monotonic() - begun < 1.5  # the file is read for 2 s where there is time
