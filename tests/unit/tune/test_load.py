"""The load generator, against servers that behave and servers that do not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from marsmith.tune.load import Load
from marsmith.tune.load_connection import http_request
from marsmith.tune.load_result import LoadResult

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Answering = Callable[[bytes], bytes]


@contextmanager
def server(answer: Answering) -> Iterator[str]:
    """Serve on a free port; `answer` makes the whole response of a request's body."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=converse, args=(connection,), daemon=True).start()

    def converse(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as file, suppress(OSError):  # once the load ends
            while length := _length(file.readline):
                response = answer(file.read(length))
                connection.sendall(response)
                if not response or b"close" in response:
                    return

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/predictions/tiny"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def _length(line: Callable[[], bytes]) -> int:
    """Read a request's header; return how long its body is, 0 at the end."""
    length = 0
    while text := line().strip():
        name, _, value = text.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
    return length


def slow(_: bytes) -> bytes:
    time.sleep(2)
    return OK


def load(url: str, seconds: float = 0.2, bodies: tuple[bytes, ...] = (b"x",)) -> LoadResult:
    with Load(url, [http_request(url, body) for body in bodies], 4) as generator:
        return generator.run(seconds)


def test_a_request_goes_over_the_wire_as_http_has_it() -> None:
    request = http_request("http://localhost:80/predictions/a%20b", b"body", {"Authorization": "x"})
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /predictions/a%20b HTTP/1.1\r\nHost: localhost:80\r\n")
    assert b"Authorization: x" in head
    assert head.endswith(b"Content-Length: 4")
    assert body == b"body"


def test_answers_are_counted_and_a_share_of_each_requests_is_kept() -> None:
    with server(lambda body: OK.replace(b"ok", body)) as url:
        result = load(url, bodies=(b"aa", b"bb"))
    assert result.requests_per_second > 0
    assert result.failures == {}
    assert result.answers == {(0, b"aa"), (1, b"bb")}
    assert 0 < result.percentile(50) <= result.percentile(99) <= max(result.latencies)


def test_large_requests_and_answers_in_chunks_come_whole() -> None:
    large = b"x" * 5_000_000
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3\r\nall\r\n0\r\n\r\n"
    )
    lengths = set()

    def answer(body: bytes) -> bytes:
        lengths.add(len(body))
        return chunked

    with server(answer) as url:
        result = load(url, bodies=(large,), seconds=0.5)
    assert max(lengths) == 5_000_000  # the last is cut off when the load ends
    assert result.answers == {(0, b"okall")}


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (OK.replace(b"200 OK", b"503 Service Unavailable"), "503 Service Unavailable"),
        (b"", "no answer: the server closed the connection"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "no answer: not HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nok", "no answer: it has no length"),
    ],
)
def test_whatever_is_no_answer_is_a_failure_with_its_reason(response: bytes, reason: str) -> None:
    with server(lambda _: response) as url:
        result = load(url)
    assert set(result.failures) == {reason}
    assert result.latencies == []


def test_a_server_that_is_not_there_is_counted_not_raised() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = load(f"http://127.0.0.1:{port}/x")
    assert result.requests_per_second == 0
    assert sum(result.failures.values()) > 0


def test_a_connection_that_the_server_closes_politely_is_opened_again() -> None:
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
    with server(lambda _: closing) as url:
        result = load(url)
    assert len(result.latencies) > 4
    assert result.failures == {}


def test_a_request_without_an_answer_has_failed_in_the_end() -> None:
    with server(slow) as url, Load(url, [http_request(url, b"x")], 2, timeout=0.1) as generator:
        result = generator.run(0.3)
    assert result.failures == {"no answer within 0.1 s": 2}


def test_the_open_loop_charges_a_stall_to_all_that_were_due_meanwhile() -> None:
    stalled = threading.Event()

    def answer(_: bytes) -> bytes:
        if not stalled.is_set():
            stalled.set()
            time.sleep(0.5)
        return OK

    with server(answer) as url:
        requests = [http_request(url, b"x")]
        with Load(url, requests, 1, rate=100) as open_loop:
            result = open_loop.run(2)
    # One connection stood still for 0.5 s, while 50 requests became due.
    late = [latency for latency in result.latencies if latency > 0.1]
    assert len(late) > 20
    assert result.percentile(99) > 0.4


def test_in_the_open_loop_those_that_still_wait_count() -> None:
    with server(slow) as url, Load(url, [http_request(url, b"x")], 1, rate=100) as open_loop:
        result = open_loop.run(0.5)
    assert result.latencies == []
    assert len(result.waiting) > 20
    assert result.percentile(99) > 0.3


def test_after_a_rest_no_latency_holds_the_pause() -> None:
    with server(lambda _: OK) as url, Load(url, [http_request(url, b"x")], 4) as generator:
        before = generator.run(0.1)
        generator.rest()
        time.sleep(1.5)
        after = generator.run(0.1)
    assert before.latencies
    assert after.latencies
    assert max(after.latencies) < 1.5


def test_stretches_add_up() -> None:
    one = LoadResult(1.0, [0.1, 0.2], answers={(0, b"a")}, waiting=[9.0])
    both = one + LoadResult(1.0, [0.3, 0.4], answers={(0, b"b")}, waiting=[0.5])
    assert both.requests_per_second == 2
    assert both.answers == {(0, b"a"), (0, b"b")}
    assert both.waiting == [0.5]


@pytest.mark.parametrize(
    ("percent", "value"), [(1, 1), (50, 50), (99, 99), (99.5, 100), (100, 100)]
)
def test_percentiles_are_of_the_nearest_rank(percent: float, value: float) -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert LoadResult(1.0, values).percentile(percent) == value


def test_a_load_that_is_told_to_stop_does() -> None:
    with server(lambda _: OK) as url, Load(url, [http_request(url, b"x")], 2) as generator:
        assert generator.run(60, stop=lambda: True).seconds < 60
