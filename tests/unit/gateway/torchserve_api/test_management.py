from __future__ import annotations

import json
from typing import Any

import pytest

from marsmith.answers.messages import Response
from marsmith.gateway.backend import Registration
from marsmith.gateway.refusals import no_worker_up
from marsmith.gateway.torchserve_api.management import routes
from tests.unit.gateway.backends import Models, Said, ask, model


def asked(backend: Models, method: str, url: str, body: bytes = b"", kind: str = "") -> Said:
    return ask(routes(backend), method, url, body, {"content-type": kind} if kind else None)


def two_versions() -> Models:
    return Models([model("echo"), model("echo", "2.0", default=False), model("other")])


def names(answer: Said) -> list[str]:
    return [one["modelName"] for one in answer.json["models"]]


@pytest.mark.parametrize(
    ("query", "listed", "token"),
    [
        ("", ["echo", "other"], None),
        ("?limit=1", ["echo"], "1"),
        ("?limit=1&next_page_token=1", ["other"], "2"),
        ("?limit=1&limit=2", ["echo"], "1"),
        ("?limit=2", ["echo", "other"], "2"),
        ("?limit=0", [], "0"),
        ("?limit=-1", ["echo", "other"], None),
        ("?limit=x&next_page_token=-3", ["echo", "other"], None),
        ("?limit=99999999999", ["echo", "other"], None),
        ("?next_page_token=7", [], None),
    ],
)
def test_a_listing_has_pages(query: str, listed: list[str], token: str | None) -> None:
    answer = asked(two_versions(), "GET", f"/models{query}")
    assert names(answer) == listed
    assert answer.json.get("nextPageToken") == token


@pytest.mark.parametrize(
    ("path", "versions"),
    [
        ("/models/echo", ["1.0"]),
        ("/models/echo/", ["1.0"]),
        ("/models/echo/2.0", ["2.0"]),
        ("/models/echo/all", ["1.0", "2.0"]),
        ("/models/echo/all?customized=true", ["1.0", "2.0"]),
    ],
)
def test_descriptions(path: str, versions: list[str]) -> None:
    answer = asked(two_versions(), "GET", path)
    assert answer.status == 200
    assert [one["modelVersion"] for one in answer.json] == versions


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/models/nope", 404, "ModelNotFoundException"),
        ("GET", "/models/nope/all", 404, "ModelNotFoundException"),
        ("GET", "/models/nope?customized=true", 404, "ModelNotFoundException"),
        ("GET", "/models/echo/9", 404, "ModelVersionNotFoundException"),
        ("PUT", "/models/nope", 404, "ModelNotFoundException"),
        ("PUT", "/models/echo/9", 404, "ModelVersionNotFoundException"),
        ("PUT", "/models/echo?model_version=9", 404, "ModelVersionNotFoundException"),
        ("PUT", "/models/echo?min_worker=2&max_worker=1", 400, "BadRequestException"),
        ("PUT", "/models/echo?min_worker=-1", 400, "BadRequestException"),
        ("PUT", "/models/echo?min_worker=1001", 400, "BadRequestException"),
        ("PUT", "/models/echo/9/set-default", 404, "ModelVersionNotFoundException"),
        ("PUT", "/models/nope/9/set-default", 404, "ModelNotFoundException"),
        ("DELETE", "/models/echo", 403, "InvalidModelVersionException"),
        ("DELETE", "/models/echo/9", 404, "ModelVersionNotFoundException"),
        ("DELETE", "/models/nope", 404, "ModelNotFoundException"),
        ("POST", "/models", 400, "BadRequestException"),
        ("POST", "/models?url=", 400, "BadRequestException"),
        ("POST", "/models?url=x.mar&runtime=perl", 400, "BadRequestException"),
        ("POST", "/models?url=http://127.0.0.1/x", 404, "ModelNotFoundException"),
        ("POST", "/models?url=echo.mar", 409, "ConflictStatusException"),
        ("POST", "/models/echo", 405, "MethodNotAllowedException"),
        ("POST", "/models/echo/1.0/set-default", 405, "MethodNotAllowedException"),
        ("PATCH", "/models", 405, "MethodNotAllowedException"),
        ("HEAD", "/models", 405, "MethodNotAllowedException"),
        ("OPTIONS", "/models", 405, "MethodNotAllowedException"),
        ("GET", "/models/echo/1.0/x", 404, "ResourceNotFoundException"),
        ("GET", "/models/a/b/c/d", 404, "ResourceNotFoundException"),
    ],
)
def test_refusals_are_torchserves(method: str, path: str, status: int, kind: str) -> None:
    answer = asked(two_versions(), method, path)
    assert (answer.status, answer.json["code"], answer.json["type"]) == (status, status, kind)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_registering_is_closed_unless_the_configuration_opens_it(method: str) -> None:
    backend = Models(model_api=False)
    url = "/models?url=x.mar" if method == "POST" else "/models/echo"
    answer = asked(backend, method, url)
    assert (answer.status, answer.json["type"]) == (405, "MethodNotAllowedException")
    assert backend.registered == []
    assert [one.name for one in backend.served] == ["echo"]


@pytest.mark.parametrize(
    ("query", "bounds", "status"),
    [
        ("", (1, 1, False), 202),
        ("?min_worker=2", (2, 2, False), 202),
        ("?min_worker=0&max_worker=0&synchronous=true", (0, 0, True), 200),
        ("?min_worker=1&max_worker=3&synchronous=TRUE&timeout=5", (1, 3, True), 200),
        ("?min_worker=x&max_worker=2", (1, 2, False), 202),
    ],
)
def test_scaling(query: str, bounds: tuple[int, int, bool], status: int) -> None:
    backend = two_versions()
    answer = asked(backend, "PUT", f"/models/echo/2.0{query}")
    assert (answer.status, backend.scaled) == (status, [bounds])


def test_a_default_version_is_set_and_the_old_one_unregistered() -> None:
    backend = two_versions()
    assert asked(backend, "PUT", "/models/echo/2.0/set-default").status == 200
    assert asked(backend, "DELETE", "/models/echo/1.0").json == {
        "status": 'Model "echo" unregistered'
    }
    assert [one.version for one in backend.served if one.name == "echo"] == ["2.0"]


WHOLE = Registration(
    "x.mar",
    "y",
    "h",
    batch_size=2,
    max_batch_delay=3,
    response_timeout=4,
    startup_timeout=5,
    initial_workers=6,
    synchronous=False,
)
QUERY = (
    "url=x.mar&model_name=y&handler=h&batch_size=2&max_batch_delay=3&response_timeout=4"
    "&startup_timeout=5&initial_workers=6&synchronous=false&runtime=python&s3_sse_kms=false"
)
VALUES = {
    "url": "x.mar",
    "model_name": "y",
    "handler": "h",
    "batch_size": 2,
    "max_batch_delay": 3,
    "response_timeout": 4,
    "startup_timeout": 5,
    "initial_workers": 6,
    "synchronous": False,
}


def test_a_registration_is_read_from_a_query_or_from_json() -> None:
    by_query, by_json = Models(), Models()
    first = asked(by_query, "POST", f"/models?{QUERY}")
    body = json.dumps(VALUES).encode()
    second = asked(by_json, "POST", "/models", body, "application/json; charset=UTF-8")
    assert (first.status, second.status) == (202, 202)
    assert by_query.registered == by_json.registered == [WHOLE]


@pytest.mark.parametrize(
    ("query", "words", "workers"),
    [
        ("url=x.mar", "registered with 0 initial workers. Use scale", None),
        ("url=x.mar&initial_workers=0", "registered with 0 initial workers. Use scale", None),
        ("url=x.mar&initial_workers=3", 'Model "x" Version: 1.0 registered with 3 initial', 3),
    ],
)
def test_a_registration_waits_unless_told_otherwise(
    query: str, words: str, workers: int | None
) -> None:
    backend = Models()
    answer = asked(backend, "POST", f"/models?{query}")
    assert (answer.status, words in answer.json["status"]) == (200, True)
    assert backend.registered == [Registration("x.mar", initial_workers=workers, synchronous=True)]


@pytest.mark.parametrize("body", [b"", b'{"url":', b"[]", b"\xff", b"[" * 100000])
def test_a_registration_that_is_no_json_object_is_refused(body: bytes) -> None:
    answer = asked(Models(), "POST", "/models", body, "application/json")
    assert (answer.status, answer.json["type"]) == (400, "BadRequestException")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b'{"inputs": [1]}', {"inputs": [1]}),
        (b"text", {}),
        (b"[1]", {}),
        (b"null", None),
        (b"", None),
    ],
)
def test_a_handler_describes_itself(said: bytes, shown: Any) -> None:
    backend = Models(says=Response(201, "", {"content-type": "a/b"}, said))
    answer = asked(backend, "GET", "/models/echo/1.0?customized=true")
    assert (answer.status, answer.headers["content-type"]) == (201, "a/b")
    assert answer.json[0].get("customizedMetadata") == shown
    (call,) = backend.calls
    assert (call.version, call.request.body) == ("1.0", b"")
    assert call.request.headers == {"describe": "True"}


def test_without_a_worker_a_handler_cannot_describe_itself() -> None:
    answer = asked(
        Models(fails=no_worker_up("echo", "1.0", "why")), "GET", "/models/echo?customized=true"
    )
    assert answer.status == 503
    assert 'Model "echo" has no worker to serve describe request' in answer.json["message"]


def test_options_describe_the_management_of_a_model() -> None:
    answer = asked(Models(), "OPTIONS", "/models/echo")
    assert answer.json["info"]["title"] == "RESTful Management API for: echo"
    assert asked(Models(), "OPTIONS", "/models/nope").status == 404
