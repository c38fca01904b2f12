"""What a handler gets of a request's headers, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from marsmith.gateway.backend import Call
from tests.unit.gateway.door import Door, a_door

URL_ENCODED = "application/x-www-form-urlencoded"
PATHS = ["/models/echo/predict", "/predictions/echo"]


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with a_door() as running:
        yield running


def called(door: Door, headers: dict[str, str], path: str = PATHS[0], body: bytes = b"x") -> Call:
    assert door.ask("POST", path, headers, body).status == 200
    return door.backend.calls[-1]


@pytest.mark.parametrize("path", PATHS)
def test_names_are_as_the_caller_wrote_them(door: Door, path: str) -> None:
    given = {"X-Request-ID": "q", "x-lower": "1", "X-MyAPI-Key2": "z", "ACCEPT": "a/b"}
    headers = called(door, given, path).request.headers
    for name, value in given.items():
        assert headers[name] == value
    assert len({name.lower() for name in headers}) == len(headers)


def test_each_request_of_a_connection_has_its_own_names(door: Door) -> None:
    head = "POST /models/echo/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
    first = f"{head}X-One-ID: 1\r\n\r\nx"
    assert len(door.raw((first + f"{head}x-one-id: 2\r\n\r\nx").encode())) == 2
    one, two = (call.request.headers for call in door.backend.calls[-2:])
    assert (one["X-One-ID"], two["x-one-id"]) == ("1", "2")
    assert "x-one-id" not in one
    assert "X-One-ID" not in two


@pytest.mark.parametrize("name", ["authorization", "COOKIE", "X-API-Key"])
def test_secrets_are_kept_back_however_they_are_written(door: Door, name: str) -> None:
    headers = called(door, {name: "secret"}).request.headers
    assert name.lower() not in {one.lower() for one in headers}


@pytest.mark.parametrize("name", ["describe", "explain", "url_path"])
def test_callers_cannot_say_what_the_front_end_says(door: Door, name: str) -> None:
    door.ask(headers={name: "True"}, body=b"x")
    headers = door.backend.calls[-1].request.headers
    assert name not in headers
    assert headers[name.title()] == "True"


@pytest.mark.parametrize("name", ["traceparent", "TraceParent"])
def test_the_gateways_span_has_the_callers_spelling_and_stands_once(door: Door, name: str) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = called(door, {name: f"00-{trace}-b7ad6b7169203331-01"}).request.headers
    assert trace in headers[name]
    assert [one for one in headers if one.lower() == "traceparent"] == [name]


@pytest.mark.parametrize("name", ["Content-Type", "content-type"])
def test_a_content_type_keeps_its_name(door: Door, name: str) -> None:
    request = called(door, {name: "image/png"}).request
    assert request.sent_type == "image/png"
    assert request.sent_headers()[name] == "image/png"
    assert [one for one in request.sent_headers() if one.lower() == "content-type"] == [name]


@pytest.mark.parametrize("name", ["Content-Type", "content-type"])
def test_handlers_are_told_of_a_form_that_is_none(door: Door, name: str) -> None:
    call = called(door, {name: URL_ENCODED}, body=b'{"a": 1}')
    assert (call.request.sent_type, call.told) == ("", {name: URL_ENCODED})
    call = called(door, {name: URL_ENCODED}, body=b"a=1")
    assert (call.request.sent_type, call.told) == (URL_ENCODED, {})


def test_requests_of_a_message_have_no_type_of_the_message(door: Door) -> None:
    body, sent = b'{"instances": [1]}', {"content-type": URL_ENCODED, "accept": "a/b"}
    call = called(door, sent, "/v1/models/echo:predict", body)
    assert call.told == {}
    names = [name.lower() for name in call.request.sent_headers()]
    assert len(names) == len(set(names))
    assert call.request.sent_type != URL_ENCODED
