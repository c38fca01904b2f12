"""marsmith/client/http1.py: bytes to send, and bytes that arrive in any pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marsmith.client.http1 import (
    LostError,
    NotHttpError,
    ResponseReader,
    place_of,
    request_head,
)

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 4\r\n\r\nbody"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nbo\r\n2;x=y\r\ndy\r\n0\r\nTrailer: t\r\n\r\n"
)


def read(*pieces: bytes) -> ResponseReader:
    reader = ResponseReader()
    for piece in pieces:
        reader.feed(piece)
    return reader


@given(st.sampled_from([WHOLE, CHUNKED]), st.sets(st.integers(1, 90)))
def test_an_answer_may_arrive_in_any_pieces(data: bytes, cuts: set[int]) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    reader = read(*(data[a:b] for a, b in pairwise(places)))
    assert reader.complete
    assert reader.reusable
    assert (reader.status, reader.response.body) == (200, b"body")


def test_a_header_that_is_there_twice_is_a_list() -> None:
    headers = read(WHOLE).response.headers
    assert headers == {"content-type": "a/b", "x-a": "1, 2", "content-length": "4"}


def test_interim_answers_are_passed_over() -> None:
    reader = read(b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n", WHOLE)
    assert (reader.complete, reader.status) == (True, 200)
    assert "x" not in reader.response.headers


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\n7", b"7"),
    ],
)
def test_a_short_answer_is_whole(data: bytes, body: bytes) -> None:
    reader = read(data)
    assert (reader.complete, reader.response.body) == (True, body)
    assert reader.reusable == (b"close" not in data)


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    reader = read(b"HTTP/1.1 200 OK\r\n\r\nto the ", b"end")
    assert not reader.complete
    reader.end()
    assert (reader.complete, reader.reusable) == (True, False)
    assert reader.response.body == b"to the end"


@pytest.mark.parametrize("data", [WHOLE[:-1], CHUNKED[:-2], WHOLE[:20], b""])
def test_a_connection_that_ends_within_the_answer_is_lost(data: bytes) -> None:
    reader = read(data)
    with pytest.raises(LostError):
        reader.end()


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n7",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"1" * 300_000,
    ],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(NotHttpError):
        read(data)


@pytest.mark.parametrize("more", [WHOLE, b"junk"])
def test_after_an_answer_that_nobody_asked_for_the_connection_is_not_used(more: bytes) -> None:
    reader = read(WHOLE + more)
    assert (reader.complete, reader.reusable) == (True, False)
    assert reader.response.body == b"body"


def test_a_request_has_the_host_and_the_length() -> None:
    place = place_of("http://[::1]:8080/prefix/")
    assert (place.host, place.port, place.tls) == ("::1", 8080, False)
    head = request_head("POST", place, "/ping", {"X": "ü"}, 3)
    lines = head.decode("latin-1").split("\r\n")
    assert lines == [
        "POST /prefix/ping HTTP/1.1",
        "Host: [::1]:8080",
        "X: ü",
        "Content-Length: 3",
        "",
        "",
    ]


@pytest.mark.parametrize(("method", "said"), [("PUT", True), ("POST", True), ("GET", False)])
def test_an_empty_body_is_told_where_one_is_expected(method: str, said: bool) -> None:
    head = request_head(method, place_of("http://a"), "/", {}, 0)
    assert (b"Content-Length: 0" in head) == said


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/a b", {}),
        ("/a\r\nX: y", {}),
        ("/" + "a" * 70_000, {}),
        ("/", {"X\r\nY": "z"}),
        ("/", {"X": "a\r\nY: z"}),
        ("/", {"X": "€"}),
        ("/", {"": "z"}),
    ],
)
def test_what_http_cannot_say_is_not_sent(path: str, headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="character"):
        request_head("GET", place_of("http://a"), path, headers, 0)


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("http://127.0.0.1:8080", True),
        ("https://host", True),
        ("http://hőst", True),
        ("ftp://host", False),
        ("http://", False),
        ("http://host:0", False),
        ("http://host:x", False),
        ("http://" + "a" * 70, False),
    ],
)
def test_addresses(url: str, known: bool) -> None:
    if known:
        assert place_of(url).host
        return
    with pytest.raises(ValueError):
        place_of(url)
