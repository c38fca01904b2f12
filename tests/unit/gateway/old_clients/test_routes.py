"""marsmith/gateway/old_clients over a back end of a few lines; real ones are in integration."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from marsmith.answers.messages import Response
from marsmith.core.errors import MarsmithError
from marsmith.gateway.access.refusals import refusal
from marsmith.gateway.old_clients.routes import routes
from marsmith.gateway.refusals import queue_full
from tests.unit.gateway.backends import Models, Said, ask

JSON = {"content-type": "application/json"}


def said(models: Models, body: bytes = b"x", sent: Any = None, **route: Any) -> Said:
    """Return the answer of a route to a POST of `body` with the headers `sent`."""
    table = {"routes": {"/old": {"model": "echo", **route}}}
    return ask(routes(models, table), "POST", "/old", body, sent)


def answering(values: Any) -> Models:
    return Models(says=Response(200, "OK", JSON, json.dumps(values).encode()))


def form(*fields: tuple[str, str]) -> dict[str, Any]:
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields
    ]
    body = ("".join(parts) + "--b--\r\n").encode()
    return {"body": body, "sent": {"content-type": "multipart/form-data; boundary=b"}}


def test_a_route_asks_its_model_and_version_with_what_came() -> None:
    models = Models()
    answer = said(models, b"picture", {"content-type": "image/png", "x-own": "a"}, version="1.0")
    assert (answer.status, answer.body) == (200, b"said picture")
    (call,) = models.calls
    assert (call.model, call.version, call.request.content_type) == ("echo", "1.0", "image/png")
    assert call.request.headers["X-Own"] == "a"


def test_one_named_field_is_the_body_and_others_are_ignored() -> None:
    models = Models()
    answer = said(models, fields=["image", "file"], **form(("file", "picture"), ("note", "x")))
    assert answer.body == b"said picture"
    assert "multipart" not in str(models.calls[0].request)


def test_several_named_fields_stay_a_form() -> None:
    models = Models()
    sent = form(("data", "1"), ("metadata", "2"), ("note", "x"))
    said(models, fields=["data", "metadata"], **sent)
    request = models.calls[0].request
    assert request.content_type.startswith("multipart/form-data")
    assert request.body.count(b'name="') == 2


def test_a_body_that_is_no_form_is_taken_as_it_is() -> None:
    sent = {"content-type": "application/x-www-form-urlencoded"}
    assert said(Models(), b"\x89PNG", sent, fields=["image"]).body == b"said \x89PNG"


def test_the_model_is_asked_for_what_the_route_answers() -> None:
    models = answering({"label": "7"})
    said(models, content_type="image/jpeg", sent={"accept": "*/*"})
    said(models, answer="${label}", sent={"accept": "image/png"})
    said(models, sent={"accept": "image/png"})
    asked = [call.request.headers["Accept"] for call in models.calls]
    assert asked == ["image/jpeg", "application/json", "image/png"]


@pytest.mark.parametrize(
    ("template", "body", "content_type"),
    [
        ("${label}", b"7", "text/plain; charset=utf-8"),
        ("${index}", b"7", "text/plain; charset=utf-8"),
        (["is ${label}"], b'["is 7"]', "application/json"),
        ({"result": "${index}"}, b'{"result": 7}', "application/json"),
    ],
)
def test_a_template_is_text_or_json(template: Any, body: bytes, content_type: str) -> None:
    answer = said(answering({"label": "7", "index": 7}), answer=template)
    assert (answer.body, answer.headers["content-type"]) == (body, content_type)


def test_a_placeholder_without_a_value_is_an_error_of_the_route() -> None:
    answer = said(answering({"label": "7"}), answer="${lable}")
    assert (answer.status, answer.json["code"]) == (500, "answer-template")


@pytest.mark.parametrize(
    ("output", "encode"), [("base64", base64.b64encode), ("base64-lines", base64.encodebytes)]
)
def test_base64_both_ways(output: str, encode: Any) -> None:
    picture = bytes(range(256))
    sent = base64.encodebytes(picture)
    answer = said(Models(), sent, input="base64", output=output)
    assert answer.body == encode(b"said " + picture)


def test_the_parts_of_an_answer_are_joined() -> None:
    models = Models(rest=[b"-1", b"-2"])
    assert said(models, output="base64").body == base64.b64encode(b"said x-1-2")


def test_headers_of_the_route_are_on_every_answer() -> None:
    route: Any = {"headers": {"Pragma": "no-cache"}, "failure": {"status": 500}}
    answers = [said(Models(), body, **route) for body in (b"x", b"")]
    found = [(one.status, one.headers["pragma"]) for one in answers]
    assert found == [(200, "no-cache"), (500, "no-cache")]


def test_a_failure_is_told_as_the_route_has_it() -> None:
    failure = {"status": 400, "body": {"message": "${message}", "code": "${code}"}}
    models = Models(says=Response(415, "", {}, b'{"error": {"message": "no picture"}}'))
    answer = said(models, failure=failure)
    assert (answer.status, answer.json) == (
        400,
        {"message": "no picture", "code": "handler-refused"},
    )


def test_a_handlers_status_for_a_large_input_is_a_failure_of_the_route() -> None:
    models = Models(says=Response(413, "", {}, b'{"error": {"message": "large"}}'))
    answer = said(models, failure={"status": 500, "body": "failed"}, headers={"Pragma": "no-cache"})
    assert (answer.status, answer.body, answer.headers["pragma"]) == (500, b"failed", "no-cache")


def test_a_problem_has_the_headers_of_the_route() -> None:
    answer = said(Models(), b"%", input="base64", headers={"Pragma": "no-cache"})
    assert (answer.json["code"], answer.headers["pragma"]) == ("malformed-request", "no-cache")


def test_a_problem_of_an_event_is_in_an_event() -> None:
    fails = refusal("key-scope", name="a", scope="b")
    answer = said(Models(fails=fails), b'{"body": "x"}', event=True)
    event = answer.json
    assert (answer.status, event["statusCode"]) == (200, 403)
    assert json.loads(event["body"])["code"] == "key-scope"


def test_an_event_has_bytes_that_are_no_text_as_base64() -> None:
    picture = bytes(range(256))
    models = Models(says=Response(200, "OK", {"content-type": "image/png"}, picture))
    event = said(models, b'{"body": "x"}', event=True).json
    assert (event["isBase64Encoded"], base64.b64decode(event["body"])) == (True, picture)


def test_without_it_a_failure_is_a_problem() -> None:
    answer = said(Models(), b"%", input="base64")
    assert (answer.status, answer.json["code"]) == (400, "malformed-request")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("route", [{}, {"fields": ["image"]}, {"input": "base64"}])
def test_a_request_without_an_input(route: dict[str, Any]) -> None:
    assert said(Models(), b"", **route).json["code"] == "no-input"
    answer = said(Models(), b"", missing={"status": 422, "body": "${code}"}, **route)
    assert (answer.status, answer.body) == (422, b"no-input")


def test_an_empty_field_is_no_input() -> None:
    answer = said(Models(), fields=["image"], **form(("image", "")))
    assert answer.json["code"] == "no-input"


@pytest.mark.parametrize("text", [b"{", b"[" * 100_000])
def test_an_event_that_is_no_json_is_refused_in_the_form_of_an_event(text: bytes) -> None:
    answer = said(Models(), text, event=True, failure={"status": 500, "body": "${code}"})
    assert (answer.status, answer.json) == (200, {"statusCode": 500, "body": "malformed-request"})


@pytest.mark.parametrize("text", [b"[]", b"3", b'{"body": 3}', b'{"body": {}}'])
def test_an_event_without_a_text_has_no_input(text: bytes) -> None:
    answer = said(Models(), text, event=True, missing={"status": 400})
    assert answer.json == {"statusCode": 400, "body": ""}


@pytest.mark.parametrize(
    "error", [refusal("key-missing", scope="predict"), refusal("key-scope", name="a", scope="b")]
)
def test_who_may_not_ask_is_told_so_whatever_the_route_says(error: MarsmithError) -> None:
    answer = said(Models(fails=error), failure={"status": 200, "body": "fine"})
    assert (answer.status in (401, 403), answer.json["code"]) == (True, error.code)


def test_an_overload_says_when_to_come_back() -> None:
    answer = said(Models(fails=queue_full("echo", 9)), failure={"status": 500, "body": "busy"})
    assert (answer.status, answer.body, answer.headers["retry-after"]) == (500, b"busy", "1")
