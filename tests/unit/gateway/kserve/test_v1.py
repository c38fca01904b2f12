"""KServe's v1 protocol over a back end that answers in this process."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from marsmith.answers.messages import Response
from marsmith.gateway.backend import Call
from tests.unit.gateway.kserve.asking import Answering, ask

B64 = base64.b64encode(b"\x89PNG").decode()


def test_models_are_listed_and_said_to_be_ready() -> None:
    assert ask(Answering(), "/v1/models").json == {"models": ["m"]}
    up = ask(Answering(), "/v1/models/m")
    assert (up.status, up.json) == (200, {"name": "m", "ready": True})
    down = ask(Answering(up=False), "/v1/models/m/versions/1.0")
    assert (down.status, down.json) == (503, {"name": "m", "ready": False})


@pytest.mark.parametrize("path", ["/v1/models/other", "/v1/models/m/versions/2"])
def test_what_is_not_there_is_404(path: str) -> None:
    assert ask(Answering(), path).status == 404
    assert ask(Answering(), f"{path}:predict", {"instances": [1]}).status == 404


@pytest.mark.parametrize(
    ("instance", "body", "content_type"),
    [
        ({"b64": B64}, b"\x89PNG", ""),
        ({"b64": B64[:4] + "\n" + B64[4:]}, b"\x89PNG", ""),
        ({"b64": B64, "more": 1}, json.dumps({"b64": B64, "more": 1}).encode(), "application/json"),
        (B64, json.dumps(B64).encode(), "application/json"),
        ([1.5, [2]], b"[1.5, [2]]", "application/json"),
        (None, b"null", "application/json"),
    ],
)
def test_an_instance_is_a_request(instance: Any, body: bytes, content_type: str) -> None:
    backend = Answering(answer=lambda _: Response(200, "", {}, b"1"))
    assert ask(backend, "/v1/models/m:predict", {"instances": [instance]}).status == 200
    (call,) = backend.calls
    assert (call.request.body, call.request.sent_type) == (body, content_type)


def test_answers_come_in_order_as_json_text_or_base64() -> None:
    def answer(call: Call) -> Response:
        number: int = json.loads(call.request.body)
        kinds = [
            Response(200, "", {}, b'{"a": 1}'),
            Response(200, "", {"content-type": "text/plain; charset=utf-8"}, b"7"),
            Response(200, "", {"content-type": "image/png"}, b"\x89PNG"),
            Response(200, "", {"content-type": "application/json"}, b"NaN"),
        ]
        return kinds[number]

    backend = Answering(
        answer=answer, delay=lambda call: 0.02 / (1 + json.loads(call.request.body))
    )
    got = ask(backend, "/v1/models/m:predict", {"instances": [0, 1, 2, 3]})
    assert got.json == {"predictions": [{"a": 1}, "7", {"b64": B64}, "NaN"]}


def test_an_explanation_is_asked_for_as_such() -> None:
    backend = Answering()
    got = ask(backend, "/v1/models/m/versions/1.0:explain", {"instances": [5]})
    assert got.json == {"explanations": [5]}
    assert (backend.calls[0].explain, backend.calls[0].version) == (True, "1.0")


def test_one_failed_instance_fails_the_answer_by_its_index() -> None:
    def answer(call: Call) -> Response:
        status = 422 if call.request.body == b"2" else 200
        return Response(status, "", {}, b'{"error": {"message": "odd"}}')

    got = ask(Answering(answer=answer), "/v1/models/m:predict", {"instances": [0, 1, 2, 3]})
    assert (got.status, got.json["code"]) == (422, "handler-refused")
    assert got.json["error"].startswith("instance 2: odd")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"instances": NaN}',
        b'{"instances": ["\\ud800"]}',
        {},
        {"instances": {}},
        {"instances": []},
        {"instances": [1], "inputs": [1]},
        {"instances": [1], "instance": 1},
        {"instances": [{"b64": "a"}]},
        {"instances": [{"b64": 5}]},
        b'{"instances": [1e999]}',
        {"instances": [0] * 1025},
        b'{"instances": ' + b"[" * 100_000,
    ],
)
def test_other_bodies_are_refused(body: Any) -> None:
    backend = Answering()
    got = ask(backend, "/v1/models/m:predict", body, method="POST")
    assert (got.status, got.json["code"]) == (400, "malformed-request")
    assert not backend.calls
