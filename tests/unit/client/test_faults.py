"""What the client does when a server fails: retries, deadlines, tokens; against real sockets."""

from __future__ import annotations

import json
import math
import re
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from marsmith.answers.messages import Response
from marsmith.client import ONCE, Client, GrpcClient, Retries
from marsmith.client.retries import Deadline
from marsmith.core.errors import ClientError, DeadlineError, RefusedError, UnreachableError
from tests.codes import coded
from tests.unit.answering import Reply, Server

pytestmark = pytest.mark.processes

QUICK = Retries(attempts=4, first=0.001, longest=0.001)
ASK = "/predictions/digits"


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, server.url, timeout=5, retries=QUICK) as opened:
        yield opened


@contextmanager
def speaking(*answers: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run a server that does one thing with each connection, and counts on nobody's manners."""

    def accept() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection:
                answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join()


def receive(connection: socket.socket) -> None:
    """Read one request to its end: a socket that is closed before that takes its answer along."""
    with connection.makefile("rb") as stream:
        head = stream.readline() + b"".join(iter(stream.readline, b"\r\n"))
        if length := re.search(rb"(?i)content-length: *(\d+)", head):
            stream.read(int(length[1]))


def hang_up(connection: socket.socket) -> None:
    receive(connection)


def hang_up_within_the_answer(connection: socket.socket) -> None:
    receive(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart")


def answer_well(connection: socket.socket) -> None:
    receive(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\n7")


def drip(data: bytes) -> Callable[[socket.socket], None]:
    """Return a way to answer: one byte after the other, until the client is gone."""

    def answer(connection: socket.socket) -> None:
        receive(connection)
        try:
            for byte in data:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
        except OSError:
            pass

    return answer


# ---- connections


def test_a_connection_is_used_again_and_a_stale_one_is_not() -> None:
    def answer_twice_and_hang_up(connection: socket.socket) -> None:
        for _ in range(2):
            receive(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n7")

    with (
        speaking(answer_twice_and_hang_up, answer_well) as url,
        Client(url, url, retries=ONCE) as client,
    ):
        for _ in range(2):
            assert client.predict("digits", b"x").ok
        time.sleep(0.1)  # for the server's last packet, which says that it hangs up
        assert client.predict("digits", b"x").ok


# ---- what is repeated


@pytest.mark.parametrize("status", [429, 503, 507])
def test_what_was_not_carried_out_is_asked_again(
    server: Server, client: Client, status: int
) -> None:
    server.replies[ASK] = [Reply(status, b"{}"), Reply(status, b"{}"), Reply(200, b"7")]
    assert client.predict("digits", b"x").json() == 7
    assert [request.body for request in server.requests] == [b"x"] * 3


def test_a_request_that_two_workers_died_of_is_not_asked_a_third_time(
    server: Server, client: Client
) -> None:
    died = b'{"code": 500, "type": "InternalServerException", "message": "Worker died."}'
    server.replies[ASK] = [Reply(503, b"{}"), Reply(500, died)]
    answer = client.predict("digits", b"x")
    assert (answer.status, answer.complaint) == (500, "Worker died.")
    assert len(server.requests) == 3


def test_a_request_whose_worker_died_is_asked_again(server: Server, client: Client) -> None:
    died = b'{"code": 500, "type": "InternalServerException", "message": "Worker died."}'
    server.replies[ASK] = [Reply(500, died), Reply(200, b"7")]
    assert client.predict("digits", b"x").json() == 7


@pytest.mark.parametrize("status", [400, 404, 413, 500])
def test_what_would_be_refused_again_is_asked_once(
    server: Server, client: Client, status: int
) -> None:
    server.replies[ASK] = [Reply(status, b"{}")]
    assert client.predict("digits", b"x").status == status
    assert len(server.requests) == 1


def test_after_a_few_tries_the_refusal_is_the_answer(server: Server, client: Client) -> None:
    server.replies[ASK] = [Reply(503, b"{}")]
    assert client.predict("digits", b"x").status == 503
    assert len(server.requests) == QUICK.attempts


def test_who_wants_to_ask_once_asks_once(server: Server) -> None:
    server.replies[ASK] = [Reply(503, b"{}"), Reply(200, b"7")]
    with Client(server.url, server.url, retries=ONCE) as client:
        assert client.predict("digits", b"x").status == 503


@pytest.mark.parametrize("failure", [hang_up, hang_up_within_the_answer])
def test_a_lost_connection_does_not_lose_the_request(
    failure: Callable[[socket.socket], None],
) -> None:
    with (
        speaking(failure, failure, answer_well) as url,
        Client(url, url, retries=QUICK) as client,
    ):
        assert client.predict("digits", b"x").json() == 7


def test_a_server_that_comes_back_meanwhile_answers(server: Server) -> None:
    server.reply(ASK, 7)
    answers: list[Response] = []
    with socket.socket() as later:
        later.bind(("127.0.0.1", 0))  # nobody listens yet: connections are refused
        url = f"http://127.0.0.1:{later.getsockname()[1]}"
        patient = Retries(attempts=200, first=0.05, longest=0.05)
        with Client(url, url, retries=patient) as client:
            asking = threading.Thread(target=lambda: answers.append(client.predict("digits", b"")))
            asking.start()
            time.sleep(0.2)
            later.listen()
            connection, _ = later.accept()
            with connection:
                answer_well(connection)
            asking.join()
    assert [answer.json() for answer in answers] == [7]


def test_what_could_be_done_twice_is_not_sent_twice() -> None:
    commands: list[Callable[[Client], object]] = [
        lambda client: client.register("digits.mar"),
        lambda client: client.unregister("digits", "1.0"),
        lambda client: client.scale("digits", 2, 2),
    ]
    for command in commands:
        with (
            speaking(hang_up) as url,
            Client(url, url, retries=QUICK) as client,
            pytest.raises(UnreachableError) as caught,
        ):
            command(client)
        assert caught.value.sent


def test_what_was_never_sent_is_sent_again_whatever_it_is() -> None:
    with socket.socket() as later:
        later.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{later.getsockname()[1]}"
        with Client(url, url, retries=Retries(200, 0.05, 0.05)) as client:
            with ThreadPoolExecutor(1) as pool:
                asked = pool.submit(client.register, "digits.mar")
                time.sleep(0.2)
                later.listen()
                connection, _ = later.accept()
                with connection:
                    answer_well(connection)
            assert asked.exception() is None


def test_setting_the_default_and_reading_are_repeated(server: Server, client: Client) -> None:
    server.replies["/models/digits/2.0/set-default"] = [Reply(503, b"{}"), Reply(200, b"{}")]
    client.set_default("digits", "2.0")
    server.replies["/models?limit=100"] = [Reply(503, b"{}"), Reply(200, b'{"models": []}')]
    assert client.models() == []
    assert len(server.requests) == 4


# ---- pauses


def test_pauses_grow_to_a_bound_and_are_spread() -> None:
    retries = Retries(attempts=2000, first=1.0, longest=8.0)
    for failures, bound in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (1999, 8)]:
        pauses = [retries.pause(failures) for _ in range(300)]
        assert 0 <= min(pauses) < bound / 4
        assert bound * 3 / 4 < max(pauses) <= bound
    assert retries.pause(2000) == math.inf


def test_retry_after_is_added_and_one_beyond_patience_ends_it() -> None:
    retries = Retries(first=1.0, patience=30.0)
    assert 10 <= retries.pause(1, 10.0) <= 11
    assert retries.pause(1, 31.0) == math.inf


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"first": -1.0}, {"patience": -1.0}])
def test_retries_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="attempt"):
        Retries(**wrong)


def test_retry_after_is_waited_for(server: Server, client: Client) -> None:
    busy = Reply(503, b"{}", headers={"retry-after": "1"})
    server.replies[ASK] = [busy, Reply(200, b"7")]
    begun = time.monotonic()
    assert client.predict("digits", b"x").ok
    assert time.monotonic() - begun >= 1


@pytest.mark.parametrize(
    "said", ["3600", "Fri, 31 Dec 2100 23:59:59 GMT", "Fri, 31 Dec 2100 23:59:59 -0000"]
)
def test_a_server_that_wants_an_hour_of_peace_is_left_alone(
    server: Server, client: Client, said: str
) -> None:
    server.replies[ASK] = [Reply(503, b"{}", headers={"retry-after": said})]
    assert client.predict("digits", b"x").status == 503
    assert len(server.requests) == 1


@pytest.mark.parametrize("said", ["soon", "-5", "", "Fri, 31 Dec 1999 23:59:59 GMT"])
def test_a_retry_after_without_meaning_is_none(server: Server, client: Client, said: str) -> None:
    server.replies[ASK] = [Reply(503, b"{}", headers={"retry-after": said}), Reply(200, b"7")]
    assert client.predict("digits", b"x").ok


# ---- deadlines


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"7" * 600,
        b"HTTP/1.1 200 OK\r\nx-one: " + b"1" * 600,
    ],
    ids=["body", "header"],
)
def test_a_server_that_drips_bytes_does_not_outlive_the_deadline(data: bytes) -> None:
    # 30 s of bytes, each of them long before the timeout of a single read.
    with speaking(drip(data)) as url, Client(url, url, timeout=10) as client:
        begun = time.monotonic()
        with pytest.raises(DeadlineError, check=coded("deadline"), match=r"\b0\.5 s"):
            client.predict("digits", b"x", deadline=0.5)
        assert time.monotonic() - begun < 10


def test_a_server_that_does_not_read_does_not_outlive_the_deadline() -> None:
    over = threading.Event()

    def wait(_: socket.socket) -> None:
        over.wait(10)

    with speaking(wait) as url, Client(url, url, timeout=60) as client:
        with pytest.raises(DeadlineError):
            client.predict("digits", b"x" * 50_000_000, deadline=0.5)
        assert not over.is_set()
        over.set()


def test_retries_end_at_the_deadline_with_the_last_refusal(server: Server) -> None:
    server.replies[ASK] = [Reply(503, b"{}")]
    patient = Retries(attempts=10_000, first=0.05, longest=0.05)
    with Client(server.url, server.url, retries=patient, deadline=0.5) as client:
        assert client.predict("digits", b"x").status == 503
    assert 1 < len(server.requests) < 5_000


def test_a_pause_beyond_the_deadline_is_not_begun(server: Server) -> None:
    server.replies[ASK] = [Reply(503, b"{}", headers={"retry-after": "30"})]
    with Client(server.url, server.url, deadline=10) as client:
        begun = time.monotonic()
        assert client.predict("digits", b"x").status == 503
        assert time.monotonic() - begun < 10


def test_a_deadline_bounds_timeouts_and_none_leaves_them() -> None:
    assert Deadline(None).bounded(5) == 5
    assert Deadline(None).bounded(None) is None
    assert Deadline(100).bounded(5) == 5
    assert 0 < (Deadline(3).bounded(None) or 0) <= 3
    assert 0 < (Deadline(-1).bounded(5) or 0) < 0.01


# ---- tokens

REFUSED = {
    "code": 400,
    "type": "InvalidKeyException",
    "message": "Token Authorization failed. Token either incorrect, expired, or not provided",
}


class Guarded:
    """A server that wants a key, and a key file that is written some time later."""

    def __init__(self, server: Server, key_file: Path) -> None:
        self.server, self.key_file = server, key_file
        server.reply(ASK, 7)
        server.reply("/models?limit=100", {"models": []})

    def lock(self, inference: str, management: str = "m-1") -> None:
        keys = {ASK: inference, "/models?limit=100": management}
        self.server.guard = (keys, json.dumps(REFUSED).encode())

    def write(self, inference: str, management: str = "m-1") -> None:
        keys = {"inference": {"key": inference}, "management": {"key": management}}
        self.key_file.write_text(json.dumps(keys))


@pytest.fixture
def guarded(server: Server, tmp_path: Path) -> Guarded:
    guarded = Guarded(server, tmp_path / "key_file.json")
    guarded.lock("i-1")
    guarded.write("i-1")
    return guarded


@pytest.fixture
def keyed(guarded: Guarded) -> Iterator[Client]:
    url = guarded.server.url
    with Client(url, url, key_file=guarded.key_file, retries=ONCE) as client:
        yield client


def test_each_api_gets_its_own_key(guarded: Guarded, keyed: Client) -> None:
    assert keyed.predict("digits", b"x").ok
    assert keyed.models() == []
    assert len(guarded.server.requests) == 2


def test_a_key_that_was_rotated_is_read_anew(guarded: Guarded, keyed: Client) -> None:
    assert keyed.predict("digits", b"x").ok
    guarded.lock("i-2", "m-2")
    guarded.write("i-2", "m-2")
    assert keyed.predict("digits", b"x").ok
    assert keyed.models() == []


@pytest.mark.parametrize("meanwhile", [None, "", '{"inference": {"ke'])
def test_a_key_that_counts_before_it_is_written_is_waited_for(
    guarded: Guarded, keyed: Client, meanwhile: str | None
) -> None:
    assert keyed.predict("digits", b"x").ok
    guarded.lock("i-2")
    if meanwhile is not None:
        guarded.key_file.write_text(meanwhile)
    writer = threading.Timer(0.2, guarded.write, args=["i-2"])
    writer.start()
    assert keyed.predict("digits", b"x").ok
    writer.join()


def test_a_key_that_stays_wrong_is_refused_and_shown_nowhere(
    guarded: Guarded, keyed: Client
) -> None:
    guarded.lock("other", "another")
    assert keyed.predict("digits", b"x").status == 400
    with pytest.raises(RefusedError) as caught:
        keyed.models()
    assert "Token Authorization failed" in caught.value.message
    assert "key_file.json" in caught.value.hint
    assert "m-1" not in caught.value.message + caught.value.hint + repr(keyed)


def test_a_token_is_sent_as_it_was_given(guarded: Guarded) -> None:
    url = guarded.server.url
    with Client(url, url, token="i-1", retries=ONCE) as client:  # noqa: S106
        assert client.predict("digits", b"x").ok
        with pytest.raises(RefusedError):
            client.models()


def test_a_file_without_keys_is_an_error_and_none_at_all_is_not(
    server: Server, tmp_path: Path
) -> None:
    server.reply(ASK, 7)
    file = tmp_path / "key_file.json"
    with Client(server.url, server.url, key_file=file) as client:
        assert client.predict("digits", b"x").ok
        file.write_text("{}")
        with pytest.raises(ClientError, check=coded("no-token")):
            client.predict("digits", b"x")


@pytest.mark.parametrize("token", ["", "a\r\nb", "ü"])
def test_a_token_that_no_header_can_carry_is_refused(token: str) -> None:
    with pytest.raises(ClientError, check=coded("bad-token")):
        Client(token=token)


@pytest.mark.parametrize("kind", [Client, GrpcClient])
def test_a_key_that_no_header_can_carry_is_shown_nowhere(
    tmp_path: Path, kind: type[Client] | type[GrpcClient]
) -> None:
    keys = {"inference": {"key": "s3cret\n"}, "management": {"key": "s3cret\n"}}
    (tmp_path / "key_file.json").write_text(json.dumps(keys))
    with (
        kind(key_file=tmp_path / "key_file.json") as client,
        pytest.raises(ClientError, check=coded("bad-token")) as caught,
    ):
        client.predict("digits", b"x")
    shown = "".join(traceback.format_exception(caught.value))
    assert "s3cret" not in shown


def test_a_token_and_a_key_file_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(ClientError, check=coded("bad-argument")):
        Client(token="a", key_file=tmp_path)  # noqa: S106
