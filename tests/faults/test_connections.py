"""Callers that behave badly: idle, slow, too much, half of it, too many; the others go on."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from marsmith.client import ONCE
from marsmith.messages import Response
from tests.faults.conftest import Scale, Station, served
from tests.faults.load import Tally, expected
from tests.integration.kit import wait_for

Report = Callable[[str, Tally], None]


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    with many_files(12_000), served(tmp_path_factory.mktemp("c"), "digest", "queueing") as running:
        yield running


@contextmanager
def many_files(wanted: int) -> Iterator[None]:
    """Let this process, and the server that it starts, have so many files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this account may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(station: Station) -> socket.socket:
    return socket.create_connection(("127.0.0.1", station.port), timeout=30)


def head(length: int) -> bytes:
    """Return the beginning of a request with a body of that length."""
    line = "POST /predictions/digest HTTP/1.1"
    return f"{line}\r\nhost: me\r\ncontent-length: {length}\r\n\r\n".encode()


@pytest.mark.faults
def test_ten_thousand_idle_connections(station: Station, scale: Scale, report: Report) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(station)) for _ in range(10_000)]
        with station.loaded("digest", scale.connections) as tally:
            time.sleep(scale.seconds)
        assert len(idle) == 10_000
        last = idle[-1]  # they are connections still
        last.sendall(head(4) + b"idle")
        assert last.recv(1000).startswith(b"HTTP/1.1 200")
    report("10,000 idle connections", tally)
    assert tally.refused == 0


def test_slow_senders(station: Station, scale: Scale, report: Report) -> None:
    """Each sends a byte now and then, head or body, and is answered in the end."""
    message, over = head(200) + b"s" * 200, threading.Event()
    half = len(message) // 2
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(station)) for _ in range(200)]
        place = 0

        def drip() -> None:
            nonlocal place
            while not over.wait(0.02) and place < half:
                for one in slow:
                    one.sendall(message[place : place + 1])
                place += 1

        thread = threading.Thread(target=drip)
        thread.start()
        with station.loaded("digest", scale.connections) as tally:
            time.sleep(scale.seconds)
        over.set()
        thread.join()
        for one in slow:
            one.sendall(message[place:])
        answers = [read_answer(one) for one in slow]
    report("200 senders of a byte at a time", tally)
    assert tally.refused == 0
    assert answers == [expected(b"s" * 200)] * 200


def read_answer(connection: socket.socket) -> bytes:
    """Return the body of an answer to a right request."""
    with connection.makefile("rb") as stream:
        assert b"200" in stream.readline()
        length = 0
        for line in iter(stream.readline, b"\r\n"):
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return stream.read(length)


def test_bodies_over_the_limit(station: Station, scale: Scale, report: Report) -> None:
    """config.properties allows 32 MiB; what is more gets 413, whatever its neighbours do."""
    outcomes: list[Response] = []
    with (
        station.client(ONCE) as client,
        station.loaded("digest", scale.connections) as tally,
    ):
        end = time.monotonic() + scale.seconds
        while time.monotonic() < end:
            outcomes.append(client.predict("digest", bytes(33 << 20)))
    report("bodies over the limit", tally)
    assert {one.status for one in outcomes} == {413}
    assert tally.refused == 0


def test_bodies_cut_off_half_way(station: Station, scale: Scale, report: Report) -> None:
    with station.loaded("digest", scale.connections) as tally:
        end = time.monotonic() + scale.seconds
        while time.monotonic() < end:
            with connect(station) as one:
                one.sendall(head(100_000) + b"half of it" * 5_000)
            time.sleep(0.01)
    report("bodies cut off half-way", tally)
    assert tally.refused == 0


def test_a_queue_filled_to_its_end(station: Station, scale: Scale, report: Report) -> None:
    """One worker that is busy, a queue of four: whoever comes then is refused at once."""
    blocked = station.kit.root / "blocked"
    blocked.touch()
    answers: list[Response] = []
    with station.client(ONCE) as first, station.client(ONCE) as client:
        waiting = [
            threading.Thread(target=lambda: answers.append(first.predict("queueing", b"waits")))
            for _ in range(40)
        ]
        for one in waiting:
            one.start()
        wait_for(lambda: any(answer.status == 503 for answer in answers), "the queue to be full")
        wait_for(lambda: client.describe("queueing")[0].pending_requests >= 4, "four in the queue")
        with station.loaded("queueing", scale.connections, ONCE) as tally:
            end = time.monotonic() + scale.seconds
            while time.monotonic() < end:
                assert client.predict("queueing", b"one more", deadline=1.0).status == 503
        blocked.unlink()
        for one in waiting:
            one.join()
    report("a queue filled to its end", tally)
    assert tally.right == 0
    assert all("503" in reason for reason in tally.reasons)
    right = [answer for answer in answers if answer.ok]
    assert len(right) >= 4
    assert {answer.body for answer in right} == {expected(b"waits")}
    assert {answer.status for answer in answers if not answer.ok} == {503}
