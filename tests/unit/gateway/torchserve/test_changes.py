"""marsmith/gateway/torchserve/changes.py: what happened between two looks."""

from __future__ import annotations

from dataclasses import replace

from marsmith.client.description import Model, Worker
from marsmith.gateway.torchserve.changes import changes

ONE = Model("digits", "1.0", True, 1, 2, 4, 2, (Worker("9000", "READY", 7, 0),))
TWO = replace(ONE, version="2.0", default=False, workers=())


def told(before: list[Model], after: list[Model]) -> list[tuple[str, str]]:
    return [(one.kind, one.version) for one in changes(before, after)]


def test_versions_come_and_go() -> None:
    assert told([ONE], [ONE, TWO]) == [("registered", "2.0")]
    assert told([ONE, TWO], [TWO]) == [("unregistered", "1.0")]
    assert told([ONE, TWO], [ONE, TWO]) == []


def test_the_default_changes() -> None:
    after = [replace(ONE, default=False), replace(TWO, default=True)]
    assert told([ONE, TWO], after) == [("default", "2.0")]


def test_workers_end_and_come_up_again() -> None:
    other = replace(ONE, workers=(Worker("9000", "READY", 8, 0),))
    assert told([ONE], [replace(ONE, workers=())]) == [("worker-died", "1.0")]
    assert told([ONE], [other]) == [("worker-died", "1.0"), ("worker-up", "1.0")]


def test_workers_that_are_scaled_away_have_not_died() -> None:
    scaled = replace(ONE, min_workers=0, max_workers=0, workers=())
    assert told([ONE], [scaled]) == [("scaled", "1.0")]
