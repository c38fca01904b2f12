"""What a connection of the gateway takes, over raw sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from marsmith.gateway.access.connection_guard import ConnectionLimits
from tests.unit.gateway.door import Door, a_door, answers

HOST = b"Host: localhost\r\n"
GET = b"GET /ping HTTP/1.1\r\n" + HOST + b"\r\n"
POST = b"POST /models/echo/predict HTTP/1.1\r\n" + HOST
SHORT = ConnectionLimits(
    head=2000,
    headers=20,
    head_time=0.3,
    body_time=1.0,
    body_pace=0.25,
    body_least=100,
    framing=3000,
    read_time=0.5,
    idle_time=1,
    pipelined=5,
    connections=4,
)


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with a_door() as running:
        yield running


@pytest.fixture(scope="module")
def strict() -> Iterator[Door]:
    with a_door(limits=SHORT) as running:
        yield running


def chunked(*headers: bytes, body: bytes = b"4\r\nabcd\r\n0\r\n\r\n") -> bytes:
    return POST + b"".join(one + b"\r\n" for one in headers) + b"\r\n" + body


AMBIGUOUS = {
    "length and chunks": chunked(b"Content-Length: 4", b"Transfer-Encoding: chunked"),
    "chunks and length": chunked(b"Transfer-Encoding: chunked", b"Content-Length: 4"),
    "two lengths": chunked(b"Content-Length: 4", b"Content-Length: 5"),
    "one length twice": chunked(b"Content-Length: 4", b"Content-Length: 4"),
    "a list of lengths": chunked(b"Content-Length: 4, 4"),
    "a length with a sign": chunked(b"Content-Length: +4"),
    "a length below zero": chunked(b"Content-Length: -4"),
    "a length in hex": chunked(b"Content-Length: 0x4"),
    "a length that no number holds": chunked(b"Content-Length: 99999999999999999999999"),
    "space before a colon": chunked(b"Content-Length : 4"),
    "a coding that only looks like chunks": chunked(b"Transfer-Encoding: xchunked"),
    "compressed chunks": chunked(b"Transfer-Encoding: gzip, chunked"),
    "chunks inside of something": chunked(b"Transfer-Encoding: chunked, identity"),
    "a vertical tab before the coding": chunked(b"Transfer-Encoding: \x0bchunked"),
    "chunks twice": chunked(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "chunks in HTTP/1.0": chunked(b"Transfer-Encoding: chunked").replace(b"/1.1", b"/1.0"),
    "a chunk below zero": chunked(b"Transfer-Encoding: chunked", body=b"-4\r\nabcd\r\n0\r\n\r\n"),
    "a chunk that no number holds": chunked(
        b"Transfer-Encoding: chunked", body=b"ffffffffffffffffff\r\nabcd"
    ),
    "lines without CR": b"GET /ping HTTP/1.1\nHost: localhost\n\n",
    "chunks without CR": chunked(b"Transfer-Encoding: chunked", body=b"4\nabcd\n0\n\n"),
    "a folded header": b"GET /ping HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n",
    "a null byte in a header": b"GET /ping HTTP/1.1\r\n" + HOST + b"A: b\x00c\r\n\r\n",
    "a null byte in the path": GET.replace(b"/ping", b"/pi\x00ng"),
    "an encoded null byte": GET.replace(b"/ping", b"/pi%00ng"),
    "an encoded slash": GET.replace(b"/ping", b"/models%2Fecho%2fpredict"),
    "an encoded backslash": GET.replace(b"/ping", b"/models%5cecho"),
    "an encoded line break": GET.replace(b"/ping", b"/ping%0d%0aX-A:1"),
    "bytes that are no ASCII in the path": GET.replace(b"/ping", b"/p\xc3\xafng"),
    "a whole URL": GET.replace(b"/ping", b"http://evil.example/ping"),
    "another proxy's request": b"CONNECT evil.example:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "no host": b"GET /ping HTTP/1.1\r\n\r\n",
    "two hosts": GET.replace(b"\r\n\r\n", b"\r\nHost: 127.0.0.1\r\n\r\n"),
    "HTTP/0.9": b"GET /ping\r\n\r\n",
    "HTTP/2": GET.replace(b"/1.1", b"/2.0"),
    "a change of the protocol with a body": chunked(
        b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 4", body=b"abcd"
    ),
    "no method": b"/ping HTTP/1.1\r\n" + HOST + b"\r\n",
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),
}


@pytest.mark.parametrize("data", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_could_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read(
    door: Door, data: bytes
) -> None:
    calls = len(door.backend.calls)
    smuggled = POST + b"Content-Length: 1\r\n\r\nx"
    said = door.raw(data + smuggled)
    assert said[0].status in (400, 421)
    assert [one.status for one in said[1:]] in ([], [200])
    if len(said) == 1:
        assert len(door.backend.calls) == calls
    else:  # it was read whole, refused as it is, and the next one is a request of its own
        assert [call.request.body for call in door.backend.calls[calls:]] == [b"x"]


def test_trailers_are_no_headers(door: Door) -> None:
    body = b"4\r\nabcd\r\n0\r\nX-Api-Key: mk_1\r\nX-Late: 1\r\n\r\n"
    (said,) = door.raw(chunked(b"Transfer-Encoding: chunked", body=body))
    assert said.status == 200
    call = door.backend.calls[-1]
    assert call.request.body == b"abcd"
    assert "X-Late" not in call.request.headers


def test_a_request_without_body_may_offer_another_protocol(door: Door) -> None:
    said = door.raw(GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"))
    assert [(one.status, one.ended) for one in said] == [(200, True)]


def test_pipelined_requests_are_answered_in_order(door: Door) -> None:
    bodies = [b"%d" % number for number in range(20)]
    sent = [POST + b"Content-Length: %d\r\n\r\n" % len(one) + one for one in bodies]
    said = door.raw(b"".join(sent))
    assert [one.body for one in said] == bodies


@pytest.mark.parametrize("bad", [b"BAD\r\n\r\n", chunked(b"Content-Length: x"), GET[:-10] + b"\n"])
def test_requests_before_a_bad_one_are_answered(door: Door, bad: bytes) -> None:
    door.backend.pause = threading.Event()
    threading.Timer(0.2, door.backend.pause.set).start()
    first = POST + b"Content-Length: 5\r\n\r\nfirst"
    said = door.raw(first + GET + bad, 1.0)
    assert [one.status for one in said] == [200, 200]
    assert (said[0].body, said[-1].ended) == (b"first", True)


def test_a_bad_body_behind_another_request_is_refused_and_the_other_answered(door: Door) -> None:
    door.backend.pause = threading.Event()
    threading.Timer(0.2, door.backend.pause.set).start()
    bad = chunked(b"Transfer-Encoding: chunked", body=b"zz\r\n")
    said = door.raw(POST + b"Content-Length: 5\r\n\r\nfirst" + bad, 1.0)
    assert [(one.status, one.body, one.ended) for one in said] == [(200, b"first", True)]


# ---- sizes


def test_a_head_that_is_too_large_is_refused_before_it_ends(strict: Door) -> None:
    with strict.connected() as connection:
        connection.sendall(GET[:-2] + b"A: ")
        time.sleep(0.05)
        connection.sendall(b"a" * 3000)
        (said,) = answers(connection, 0.2)
    assert (said.status, said.code, said.ended) == (431, "head-too-large", True)


@pytest.mark.parametrize("headers", [[b"A: " + b"a" * 2100], [b"A%d: a" % n for n in range(25)]])
def test_a_head_with_too_much_is_refused(strict: Door, headers: list[bytes]) -> None:
    (said,) = strict.raw(GET[:-2] + b"\r\n".join(headers) + b"\r\n\r\n")
    assert (said.status, said.code) == (431, "head-too-large")


def test_a_body_of_framing_alone_is_refused(strict: Door) -> None:
    with strict.connected() as connection:
        connection.sendall(chunked(b"Transfer-Encoding: chunked", body=b"1;"))
        time.sleep(0.05)
        connection.sendall(b"x" * 6000)
        (said,) = answers(connection, 0.2)
    assert (said.status, said.code) == (400, "bad-request")


def test_more_pipelined_requests_than_allowed_are_not_kept(strict: Door) -> None:
    strict.backend.pause = threading.Event()
    threading.Timer(0.2, strict.backend.pause.set).start()
    said = strict.raw(POST + b"Content-Length: 1\r\n\r\nx" + GET * 20, 1.0)
    assert [one.status for one in said] == [200] * 6
    assert said[-1].ended


# ---- time


def test_a_connection_on_which_nothing_comes_is_closed(strict: Door) -> None:
    with strict.connected() as connection:
        connection.settimeout(3)
        assert connection.recv(100) == b""


def test_a_head_that_comes_too_slowly_is_dropped(strict: Door) -> None:
    begun = time.monotonic()
    (said,) = strict.raw(GET[:20], 3.0)
    assert (said.status, said.code, said.ended) == (408, "too-slow", True)
    assert time.monotonic() - begun < 2


def test_a_body_that_stops_is_dropped_and_never_asks_the_model(strict: Door) -> None:
    calls = len(strict.backend.calls)
    (said,) = strict.raw(POST + b"Content-Length: 500\r\n\r\nabc", 3.0)
    assert (said.status, said.code, said.ended) == (408, "too-slow", True)
    assert len(strict.backend.calls) == calls


def test_a_body_that_trickles_is_dropped(strict: Door) -> None:
    with strict.connected() as connection:
        connection.sendall(POST + b"Content-Length: 5000\r\n\r\n")
        begun = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - begun < 5:
                connection.sendall(b"x")
                time.sleep(0.02)
    assert time.monotonic() - begun < 3


def test_a_body_that_keeps_its_pace_may_not_take_for_ever(strict: Door) -> None:
    with strict.connected() as connection:
        connection.sendall(POST + b"Content-Length: 500000\r\n\r\n")
        begun = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - begun < 5:
                connection.sendall(b"x" * 40)
                time.sleep(0.02)
    assert 0.9 < time.monotonic() - begun < 3


def test_slow_senders_hold_up_nobody(strict: Door) -> None:
    """As many as there may be connections; after their time, others are served."""
    slow = [strict.connected() for _ in range(SHORT.connections)]
    for one in slow:
        one.__enter__().sendall(GET[:30])
    refused = strict.raw(GET, 0.2)
    assert [one.code for one in refused if one.status != 200] in ([], ["too-many-connections"])
    time.sleep(0.6)
    assert [one.status for one in strict.raw(GET)] == [200]
    for one in slow:
        one.__exit__(None, None, None)


def test_an_idle_connection_is_closed(strict: Door) -> None:
    with strict.connected() as connection:
        connection.sendall(GET)
        said = answers(connection, 3.0)
    assert [(one.status, one.ended) for one in said] == [(200, True)]


def test_a_caller_that_reads_no_answer_is_dropped() -> None:
    large = b"x" * 6_000_000
    with a_door(limits=replace(SHORT, body_time=20.0)) as door, door.connected() as connection:
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(large) + large)
        time.sleep(1.5)
        received = 0
        with pytest.raises(ConnectionError):
            while part := connection.recv(65536):
                received += len(part)
            raise ConnectionResetError
        assert received < len(large)
        assert b'refused_connections_total{code="answer-unread"} 1.0' in scraped(door)


def scraped(door: Door) -> bytes:
    return door.ask("GET", "/metrics").body


def test_what_a_caller_no_longer_waits_for_is_cancelled(door: Door) -> None:
    door.backend.pause = threading.Event()
    cancelled = len(door.backend.cancelled)
    with door.connected() as connection:
        connection.sendall(POST + b"Content-Length: 1\r\n\r\nx")
        time.sleep(0.1)
    end = time.monotonic() + 3
    while len(door.backend.cancelled) == cancelled and time.monotonic() < end:
        time.sleep(0.01)
    door.backend.pause = None
    assert len(door.backend.cancelled) == cancelled + 1
    assert b'face="marsmith",model="",status="499",version=""' in scraped(door)


def test_100_continue(door: Door) -> None:
    with door.connected() as connection:
        connection.sendall(POST + b"Content-Length: 1\r\nExpect: 100-continue\r\n\r\n")
        connection.settimeout(3)
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"x")
        (said,) = answers(connection, 0.3)
    assert said.body == b"x"
