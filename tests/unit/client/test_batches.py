"""Many requests at once, files, and what else a client asks of the inference API."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from marsmith.answers.messages import Response
from marsmith.client import ONCE, Client
from marsmith.client.batches import in_parallel
from marsmith.core.errors import ClientError, RefusedError
from tests.codes import coded
from tests.unit.answering import Reply, Request, Server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, server.url, metrics_url=server.url, timeout=5, retries=ONCE) as opened:
        yield opened


def respond(body: bytes) -> Response:
    return Response(200, "OK", {}, body)


def bodies(answers: list[Response | ClientError]) -> list[bytes]:
    return [answer.body for answer in answers if isinstance(answer, Response)]


# ---- many at once


def test_answers_come_in_the_order_of_the_bodies_whoever_is_first() -> None:
    last_came = threading.Event()

    def ask(body: bytes) -> Response:
        if body == b"3":
            last_came.set()
        elif body == b"0":
            assert last_came.wait(10)
        return respond(body)

    answers = in_parallel(ask, [b"0", b"1", b"2", b"3"], 2)
    assert bodies(answers) == [b"0", b"1", b"2", b"3"]


def test_as_many_are_under_way_as_there_are_connections_and_no_more() -> None:
    together = threading.Barrier(3)
    under_way: set[int] = set()
    most: list[int] = []

    def ask(body: bytes) -> Response:
        under_way.add(threading.get_ident())
        most.append(len(under_way))
        together.wait(10)
        under_way.discard(threading.get_ident())
        return respond(body)

    assert len(in_parallel(ask, [b"x"] * 9, 3)) == 9
    assert max(most) == 3


def test_bodies_are_taken_as_they_are_sent() -> None:
    taken: list[int] = []
    ahead: list[int] = []

    def endless() -> Iterator[bytes]:
        for number in range(50):
            taken.append(number)
            yield bytes([number])

    def ask(body: bytes) -> Response:
        ahead.append(len(taken) - body[0])
        return respond(body)

    assert len(in_parallel(ask, endless(), 2)) == 50
    assert max(ahead) <= 3


def test_a_request_that_fails_loses_no_other(server: Server, client: Client) -> None:
    ask = client.predict

    def failing(body: bytes) -> Response:
        if body == b"1":
            raise ClientError("lost", "try again")
        return ask("digits", body)

    server.reply("/predictions/digits", 7)
    first, second, third = in_parallel(failing, [b"0", b"1", b"2"], 2)
    assert isinstance(first, Response)
    assert isinstance(third, Response)
    assert isinstance(second, ClientError)
    assert second.message == "lost"


def test_a_batch_goes_to_its_version_with_its_accept(server: Server, client: Client) -> None:
    server.reply("/predictions/digits/2.0", 7)
    answers = client.predict_batch("digits", [b"a", b"b"], "text/plain", version="2.0")
    assert [isinstance(answer, Response) and answer.json() for answer in answers] == [7, 7]
    assert sorted(request.body for request in server.requests) == [b"a", b"b"]


def test_no_bodies_are_no_requests(server: Server, client: Client) -> None:
    assert client.predict_batch("digits", []) == []
    assert server.requests == []


def test_a_bug_in_what_yields_the_bodies_ends_the_batch() -> None:
    def broken() -> Iterator[bytes]:
        yield b"0"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_parallel(respond, broken(), 4)


def test_no_connections_at_all_are_an_error(client: Client) -> None:
    with pytest.raises(ClientError, check=coded("bad-argument")):
        client.predict_batch("digits", [b"x"], connections=0)


# ---- files, explanations, health, metrics


def test_a_file_is_sent_as_it_is(server: Server, client: Client, tmp_path: Path) -> None:
    server.reply("/predictions/digits", 7)
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    assert client.predict_file("digits", tmp_path / "a.png").json() == 7
    assert server.requests[0].body == b"\x89PNG"


def test_a_file_that_is_not_there_is_an_error(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ClientError, check=coded("unreadable-file")):
        client.predict_file("digits", tmp_path / "a.png")


def test_an_explanation_is_asked_for_as_a_prediction_is(server: Server, client: Client) -> None:
    server.reply("/explanations/digits/2.0", {"0": 0.5})
    assert client.explain("digits", b"x", version="2.0").json() == {"0": 0.5}
    (request,) = server.requests
    assert request == Request("POST", "/explanations/digits/2.0", b"x", "application/octet-stream")


def test_health_is_what_torchserve_says_of_itself(server: Server, client: Client) -> None:
    server.reply("/ping", {"status": "Healthy"})
    assert client.health() == "Healthy"
    server.reply("/ping", {"status": "Unhealthy"}, status=500)
    assert client.health() == "Unhealthy"


def test_another_servers_health_is_an_error(server: Server, client: Client) -> None:
    server.replies["/ping"] = [Reply(200, b"pong")]
    with pytest.raises(ClientError, check=coded("not-torchserve")):
        client.health()
    server.replies["/ping"] = [Reply(404, b"")]
    with pytest.raises(RefusedError):
        client.health()


def test_metrics_are_text(server: Server, client: Client) -> None:
    server.replies["/metrics"] = [Reply(200, b"# HELP a\na 1.0\n", "text/plain")]
    assert client.metrics() == "# HELP a\na 1.0\n"


def test_metrics_are_one_port_after_management(server: Server) -> None:
    server.replies["/metrics"] = [Reply(200, b"a 1.0\n")]
    below = f"http://127.0.0.1:{server.server_port - 1}"
    with Client(server.url, below) as client:
        assert client.metrics() == "a 1.0\n"


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:8080", "ftp://127.0.0.1", "http://", "http://a:b", "http://[::1", "http://a:0"],
)
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ClientError, check=coded("bad-address")):
        Client(url)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(ClientError) as caught:
        Client("http://me:secret@127.0.0.1:8080")
    assert "secret" not in caught.value.message + caught.value.hint


def test_a_certificate_that_is_none_is_refused(tmp_path: Path) -> None:
    for name in ("missing.pem", "wrong.pem"):
        (tmp_path / "wrong.pem").write_text("no certificate")
        with pytest.raises(ClientError, check=coded("bad-certificate")):
            Client(certificate=tmp_path / name)


def test_an_accept_header_that_cannot_be_sent_is_an_error(client: Client) -> None:
    for accept in ("image/€", "a\r\nx: y"):
        with pytest.raises(ClientError, check=coded("bad-argument")):
            client.predict("digits", b"x", accept)
