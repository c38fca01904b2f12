"""Which version a request goes to while one is on trial."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from marsmith.client.routes import Routes
from marsmith.routing import FAILURES_FILE, ROUTES_FILE, Route, format_routes, parse_routes, routed

ROUTES = {"digits": Route("2.0", 0.25)}


def test_what_is_written_is_read() -> None:
    assert parse_routes(format_routes(ROUTES).decode()) == ROUTES


@pytest.mark.parametrize("text", ["", "{", "[]", '{"digits": 1}', '{"digits": {"version": "1"}}'])
def test_a_file_that_cannot_be_read_routes_nothing(text: str) -> None:
    assert parse_routes(text) == {}


def test_a_share_of_the_requests_of_one_model_goes_to_the_version_on_trial() -> None:
    draws = [number / 100 for number in range(100)]
    assert sum(routed(ROUTES, "digits", draw) == "2.0" for draw in draws) == 25
    assert {routed(ROUTES, "cartoon", draw) for draw in draws} == {None}


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    routes = Routes(tmp_path)
    assert routes.version("digits") is None
    for version in ("2.0", "3.0"):
        new = tmp_path / "new"
        new.write_bytes(format_routes({"digits": Route(version, 1.0)}))
        new.replace(tmp_path / ROUTES_FILE)
        assert routes.version("digits") == version
    (tmp_path / ROUTES_FILE).unlink()
    assert routes.version("digits") is None


def test_a_failure_is_reported_only_to_a_trial(tmp_path: Path) -> None:
    routes = Routes(tmp_path)
    routes.report("digits", "2.0", 500)
    assert os.listdir(tmp_path) == []  # noqa: PTH208
    (tmp_path / FAILURES_FILE).touch()
    routes.report("digits", "2.0", 500)
    routes.report("digits", "2.0", 0)
    lines = (tmp_path / FAILURES_FILE).read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines] == [500, 0]
