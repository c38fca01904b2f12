"""The gateway's own way to ask a model."""

from __future__ import annotations

import pytest
from starlette.responses import PlainTextResponse

from marsmith.answers.messages import Response
from marsmith.core.errors import ClientError
from marsmith.gateway.predicting import Predicting
from marsmith.gateway.refusals import queue_full
from tests.unit.gateway.backends import Models, Said, ask

URL = "/models/echo/predict"


def asked(backend: Models, method: str, url: str = URL) -> Said:
    return ask(Predicting(backend, PlainTextResponse()), method, url, b"this")


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("url", [URL, "/models/echo/versions/1.0/predict"])
def test_a_body_is_answered(method: str, url: str) -> None:
    answer = asked(Models(), method, url)
    assert (answer.status, answer.body) == (200, b"said this")


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH"])
def test_other_methods_are_told_those_that_ask(method: str) -> None:
    backend = Models()
    answer = asked(backend, method)
    assert (answer.status, answer.json["code"]) == (405, "no-such-path")
    assert (answer.headers["allow"], backend.calls) == ("POST, PUT", [])


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [(415, "handler-refused", 415), (503, "handler-failed", 500), (500, "handler-failed", 500)],
)
def test_a_handler_that_fails_is_told_from_one_that_refuses(
    status: int, code: str, told: int
) -> None:
    said = Response(status, "", {"content-type": "application/json"}, b'{"error": "why"}')
    answer = asked(Models(says=said), "POST")
    assert (answer.status, answer.json["code"], answer.json["status"]) == (told, code, told)
    assert answer.json["request_id"] == answer.headers["x-request-id"]


def test_what_is_wrong_with_a_request_is_400() -> None:
    backend = Models(fails=ClientError("no form", "send one", code="bad-form"))
    assert (asked(backend, "POST").status, asked(backend, "POST").json["code"]) == (400, "bad-form")


def test_a_full_queue_says_when_to_come_again() -> None:
    answer = asked(Models(fails=queue_full("echo", 100)), "POST")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
