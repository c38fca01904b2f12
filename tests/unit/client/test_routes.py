"""What a client does while a version is on trial, against a real HTTP server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from marsmith.client import ONCE, Client, Retries
from marsmith.client.canary_routes import (
    REPORTS_FILE,
    ROUTES_FILE,
    Outcome,
    Route,
    count_reports,
    format_routes,
)
from tests.unit.answering import Server

TWICE = Retries(attempts=2, first=0.0)
USUAL, TRIED = "/predictions/digits", "/predictions/digits/2.0"


@pytest.fixture
def server(server: Server) -> Server:
    server.reply(USUAL, {"label": "7", "confidence": 0.90})
    return server


@pytest.fixture
def client(server: Server, tmp_path: Path) -> Iterator[Client]:
    """A client all of whose requests are on trial."""
    (tmp_path / ROUTES_FILE).write_bytes(format_routes({"digits": Route("2.0", 1.0, 0.05)}))
    (tmp_path / REPORTS_FILE).touch()
    with Client(server.url, server.url, timeout=5, retries=TWICE, routes=tmp_path) as opened:
        yield opened


def reports(tmp_path: Path) -> dict[Outcome, int]:
    return count_reports((tmp_path / REPORTS_FILE).read_text())


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_what_the_version_on_trial_refuses_the_default_one_answers(
    server: Server, client: Client, tmp_path: Path, status: int
) -> None:
    server.reply(TRIED, {"code": status, "message": "no"}, status=status)
    assert client.predict("digits", b"x").json()["label"] == "7"
    assert reports(tmp_path) == {"failed": 1, "alike": 0, "other": 0}


def test_a_request_that_both_refuse_is_no_failure(
    server: Server, client: Client, tmp_path: Path
) -> None:
    for path in (USUAL, TRIED):
        server.reply(path, {"code": 400, "message": "no picture"}, status=400)
    assert client.predict("digits", b"x").status == 400
    assert reports(tmp_path) == {"failed": 0, "alike": 0, "other": 0}


def test_a_version_on_trial_that_hangs_leaves_time_for_the_default_one(
    server: Server, client: Client, tmp_path: Path
) -> None:
    server.silent.add(TRIED)
    assert client.predict("digits", b"x", deadline=2.0).json()["label"] == "7"
    assert reports(tmp_path)["failed"] == 1


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"label": "7", "confidence": 0.93}, "alike"),
        ({"label": "7", "confidence": 0.60}, "other"),
        ({"label": "1", "confidence": 0.90}, "other"),
    ],
)
def test_some_answers_are_compared(
    server: Server, client: Client, tmp_path: Path, answer: dict[str, object], outcome: Outcome
) -> None:
    server.reply(TRIED, answer)
    for _ in range(100):
        assert client.predict("digits", b"x").json() == answer  # never the default one's
    asked = server.paths.count(f"POST {USUAL}")
    assert 0 < asked < 100
    assert reports(tmp_path) == {"failed": 0, "alike": 0, "other": 0} | {outcome: asked}


def test_a_request_that_names_its_version_is_never_on_trial(server: Server, client: Client) -> None:
    server.reply(f"{USUAL}/1.0", {"label": "7"})
    client.predict("digits", b"x", version="1.0")
    assert server.paths == [f"POST {USUAL}/1.0"]


def test_who_never_asks_twice_is_never_on_trial(server: Server, tmp_path: Path) -> None:
    (tmp_path / ROUTES_FILE).write_bytes(format_routes({"digits": Route("2.0", 1.0)}))
    with Client(server.url, server.url, retries=ONCE, routes=tmp_path) as once:
        for _ in range(50):
            once.predict("digits", b"x")
    assert server.paths == [f"POST {USUAL}"] * 50
