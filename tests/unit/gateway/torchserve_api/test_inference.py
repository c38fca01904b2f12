from __future__ import annotations

import pytest

from marsmith.answers.messages import Response
from marsmith.core.errors import MarsmithError
from marsmith.gateway.refusals import no_worker_up, queue_full, too_late, worker_died
from marsmith.gateway.torchserve_api.inference import routes
from tests.unit.gateway.backends import Models, Said, ask, model


def asked(backend: Models, method: str, url: str, body: bytes = b"", **headers: str) -> Said:
    return ask(routes(backend), method, url, body, headers)


@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "DELETE", "PATCH"])
def test_every_method_predicts_as_in_torchserve(method: str) -> None:
    backend = Models()
    answer = asked(backend, method, "/predictions/echo", b"this")
    assert (answer.status, answer.body) == (200, b"said this")
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["pragma"] == "no-cache"
    assert answer.headers["x-request-id"] == backend.calls[0].id


@pytest.mark.parametrize(
    ("path", "version", "rest", "explain"),
    [
        ("/predictions/echo", None, "", False),
        ("/predictions/echo/", None, "", False),
        ("/predictions/echo/1.0", "1.0", "", False),
        ("/predictions/echo/1.0/a/b", "1.0", "a/b", False),
        ("/explanations/echo", None, "", True),
        ("/explanations/echo/1.0", "1.0", "", True),
        ("/echo/predict", None, "", False),
        ("/echo/1.0/predict", "1.0", "", False),
        ("/models/echo/invoke", None, "", False),
        ("/invocations", None, "", False),
        ("/invocations?model_name=echo", None, "", False),
    ],
)
def test_paths_name_model_version_and_the_rest(
    path: str, version: str | None, rest: str, explain: bool
) -> None:
    backend = Models()
    assert asked(backend, "POST", path).status == 200
    (call,) = backend.calls
    assert (call.model, call.version, call.path, call.explain) == ("echo", version, rest, explain)


@pytest.mark.parametrize(
    "path", ["/predictions", "/predictions/", "/explanations", "/predictions//"]
)
def test_a_path_without_a_model_is_none(path: str) -> None:
    answer = asked(Models(), "POST", path)
    assert (answer.status, answer.json["type"]) == (404, "ResourceNotFoundException")


def test_invocations_of_one_of_several_models_need_its_name() -> None:
    answer = asked(Models([model("echo"), model("other")]), "POST", "/invocations")
    assert (answer.status, answer.json["type"]) == (400, "BadRequestException")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/predictions/nope", "ModelNotFoundException"),
        ("/predictions/echo/9", "ModelVersionNotFoundException"),
        ("/predictions//echo", "ModelNotFoundException"),
    ],
)
def test_what_is_not_there_has_torchserves_name(path: str, kind: str) -> None:
    answer = asked(Models(), "POST", path)
    assert (answer.status, answer.json["code"], answer.json["type"]) == (404, 404, kind)


@pytest.mark.parametrize(
    ("error", "status", "kind", "later"),
    [
        (queue_full("echo", 100), 503, "ServiceUnavailableException", True),
        (no_worker_up("echo", "1.0", "why"), 503, "ServiceUnavailableException", True),
        (worker_died("echo", "1.0"), 500, "InternalServerException", False),
        (too_late("echo", 30), 504, "InternalServerException", False),
        (MarsmithError("a", "b"), 500, "InternalServerException", False),
    ],
    ids=lambda value: getattr(value, "code", None),
)
def test_refusals_have_torchserves_form(
    error: MarsmithError, status: int, kind: str, later: bool
) -> None:
    answer = asked(Models(fails=error), "POST", "/predictions/echo")
    assert (answer.status, answer.json["code"], answer.json["type"]) == (status, status, kind)
    assert ("retry-after" in answer.headers) == later
    assert answer.headers["content-type"] == "application/json"


def test_a_full_queue_is_told_in_words_that_scripts_look_for() -> None:
    answer = asked(Models(fails=queue_full("echo", 100)), "POST", "/predictions/echo/1.0")
    assert answer.json["message"].startswith(
        'Model "echo" Version 1.0" has no worker to serve inference request. '
    )


def test_a_handlers_own_status_and_headers_are_passed_on() -> None:
    said = Response(422, "No", {"content-type": "a/b", "X-Own": "1", "Content-Length": "9"}, b"no")
    answer = asked(Models(says=said), "POST", "/predictions/echo")
    assert (answer.status, answer.body) == (422, b"no")
    assert (answer.headers["x-own"], answer.headers["content-length"]) == ("1", "2")


@pytest.mark.parametrize(
    "header",
    [
        ("x-a", "1\n"),
        ("x-a", "1\r\nx-b: 2"),
        ("x a", "1"),
        ("x-a\r\nx-b", "2"),
        ("x-a", "\u0441"),
        ("x-a", ""),
    ],
)
def test_headers_of_handlers_that_http_cannot_carry_are_left_out(header: tuple[str, str]) -> None:
    said = Response(200, "", dict([header]), b"")
    answer = asked(Models(says=said), "POST", "/predictions/echo")
    assert answer.status == 200
    assert not {name for name in answer.headers if name.startswith(("x-a", "x-b", "x a"))}


def test_parts_are_sent_as_they_come() -> None:
    answer = asked(Models(rest=[b"and", b"more"]), "POST", "/predictions/echo", b"this")
    assert answer.parts == (b"said this", b"and", b"more")
    assert "content-length" not in answer.headers


@pytest.mark.parametrize(("health", "status"), [("Healthy", 200), ("Unhealthy", 500)])
def test_ping(health: str, status: int) -> None:
    backend = Models(healthy="Healthy" if health == "Healthy" else "Partial Healthy")
    answer = asked(backend, "GET", "/ping")
    assert (answer.status, answer.json) == (status, {"status": health})


def test_secrets_of_callers_do_not_reach_handlers() -> None:
    backend = Models()
    asked(backend, "POST", "/predictions/echo", b"", **{"authorization": "Bearer x", "x-own": "1"})
    assert dict(backend.calls[0].request.headers) == {"X-Own": "1"}


def test_options_describe_a_model() -> None:
    answer = asked(Models(), "OPTIONS", "/predictions/echo")
    assert "/prediction/echo" in answer.json["paths"]
    assert asked(Models(), "OPTIONS", "/predictions/nope").status == 404


def test_parts_that_fail_midway_are_not_ended() -> None:
    answer = asked(Models(rest=[b"and", worker_died("echo", "1.0")]), "POST", "/predictions/echo")
    assert answer.parts == (b"said ", b"and")
    assert not answer.ended
