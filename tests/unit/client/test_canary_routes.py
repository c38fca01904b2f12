"""Which version a request goes to while one is on trial."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from marsmith.client.canary_routes import (
    REPORTS_FILE,
    ROUTES_FILE,
    Route,
    count_reports,
    format_routes,
    parse_routes,
    routed,
)
from marsmith.client.routes import Routes

ROUTES = {"digits": Route("2.0", 0.25, 0.01, 0.5)}


def test_what_is_written_is_read() -> None:
    assert parse_routes(format_routes(ROUTES).decode()) == ROUTES


@pytest.mark.parametrize("text", ["", "{", "[]", '{"digits": 1}', '{"digits": {"version": "1"}}'])
def test_a_file_that_cannot_be_read_routes_nothing(text: str) -> None:
    assert parse_routes(text) == {}


def test_a_share_of_the_requests_of_one_model_goes_to_the_version_on_trial() -> None:
    draws = [number / 100 for number in range(100)]
    assert sum(routed(ROUTES, "digits", draw, 0.0) == ROUTES["digits"] for draw in draws) == 25
    assert {routed(ROUTES, "cartoon", draw, 0.0) for draw in draws} == {None}


def test_a_trial_ends_even_if_nobody_ends_it() -> None:
    routes = {"digits": Route("2.0", 1.0, until=100.0)}
    assert routed(routes, "digits", 0.5, 99.0) == routes["digits"]
    assert routed(routes, "digits", 0.5, 100.0) is None


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    routes = Routes(tmp_path)
    assert routes.canary("digits") is None
    for version in ("2.0", "3.0"):
        new = tmp_path / "new"
        new.write_bytes(format_routes({"digits": Route(version, 1.0)}))
        new.replace(tmp_path / ROUTES_FILE)
        assert routes.canary("digits") == Route(version, 1.0)
    (tmp_path / ROUTES_FILE).unlink()
    assert routes.canary("digits") is None


def test_reports_are_written_only_for_a_trial(tmp_path: Path) -> None:
    routes = Routes(tmp_path)
    routes.report("digits", "2.0", "failed")
    assert os.listdir(tmp_path) == []  # noqa: PTH208
    (tmp_path / REPORTS_FILE).touch()
    routes.report("digits", "2.0", "failed")
    routes.report("digits", "2.0", "alike")
    routes.report("digits", "2.0", "alike")
    text = (tmp_path / REPORTS_FILE).read_text()
    assert count_reports(text) == {"failed": 1, "alike": 2, "other": 0}
    assert count_reports(text + '{"model": "dig') == count_reports(text)
