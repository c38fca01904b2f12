"""marsmith/deploy/canary_routes.py: what a deployment and gateways tell each other of a canary."""

from __future__ import annotations

import pytest

from marsmith.deploy.canary_routes import (
    Report,
    Route,
    format_report,
    format_routes,
    parse_routes,
    summed,
    takes,
)

ROUTES = {"digits": Route("2.0", 0.25, 0.01, 0.5)}


def test_what_is_written_is_read() -> None:
    assert parse_routes(format_routes(ROUTES).decode()) == ROUTES


@pytest.mark.parametrize("text", ["", "{", "[]", '{"digits": 1}', '{"digits": {"version": "1"}}'])
def test_a_file_that_cannot_be_read_routes_nothing(text: str) -> None:
    assert parse_routes(text) == {}


def test_a_share_of_the_requests_goes_to_the_canary_until_it_ends() -> None:
    draws = [number / 100 for number in range(100)]
    route = Route("2.0", 0.25, until=100.0)
    assert sum(takes(route, draw, 99.0) for draw in draws) == 25
    assert not any(takes(route, draw, 100.0) for draw in draws)


def test_reports_of_all_gateways_are_added_and_those_of_other_canaries_are_not() -> None:
    one = Report(requests=4, seconds=0.2, usual_requests=10, usual_seconds=0.1, failed=1, alike=2)
    texts = [format_report("digits", version, one).decode() for version in ("2.0", "2.0", "1.9")]
    whole = summed(texts, "digits", "2.0")
    assert whole is not None
    assert (whole.requests, whole.failed, whole.alike, whole.other) == (8, 2, 4, 0)
    assert whole.mean == pytest.approx(50)
    assert whole.usual_mean == pytest.approx(10)
    assert summed(texts, "digits", "3.0") is None


def test_of_no_request_there_is_no_mean() -> None:
    assert (Report().mean, Report().usual_mean) == (0.0, 0.0)
