"""marsmith/deploy/canary.py: what is judged of a new version, once its figures are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from marsmith.core.errors import RolloutError
from marsmith.core.findings import Finding
from marsmith.core.interrupts import StopRequest
from marsmith.deploy.canary import ENOUGH, Counted, _judge, _require_agreement, _require_few
from marsmith.deploy.transaction import Transaction
from tests.codes import coded, tells


class Told:
    """A change of which nothing but what it tells matters."""

    def __init__(self) -> None:
        self.all: list[str | Finding] = []
        self.change: Any = SimpleNamespace(transaction=Transaction(StopRequest(), self.all.append))

    @property
    def rules(self) -> list[str]:
        return [one.rule for one in self.all if isinstance(one, Finding)]


def counted(requests: float, mean: float) -> Counted:
    return Counted(requests, requests * mean * 1000)


def test_means_are_of_what_came_since() -> None:
    assert counted(30, 4).since(counted(10, 4)).mean == 4
    assert Counted(5, 1).since(Counted(5, 1)).mean == 0  # no request


@pytest.mark.parametrize(
    ("failures", "requests", "fails"),
    [(0, 0, False), (1, 0, False), (2, 0, True), (2, 199, True), (2, 200, False), (3, 200, True)],
)
def test_one_failure_is_an_accident_and_one_in_a_hundred_is_the_most(
    failures: int, requests: int, fails: bool
) -> None:
    if not fails:
        _require_few(failures, counted(requests, 1))
        return
    with pytest.raises(RolloutError, check=coded("canary-worse")):
        _require_few(failures, counted(requests, 1))


@pytest.mark.parametrize(("was", "now"), [(10, 20), (1, 6.4), (100, 155)])
def test_a_version_as_slow_as_may_be_is_told_with_its_figures(was: float, now: float) -> None:
    told = Told()
    _judge(told.change, counted(ENOUGH, was), counted(ENOUGH + 5, now), 5)
    assert tells(str(told.all[0]), ENOUGH, f"{now:.1f} ms", f"{was:.1f} ms")


@pytest.mark.parametrize(("was", "now"), [(10, 20.1), (1, 6.6), (100, 156)])
def test_a_slower_version_is_refused(was: float, now: float) -> None:
    with pytest.raises(RolloutError, check=coded("canary-worse")):
        _judge(Told().change, counted(ENOUGH, was), counted(ENOUGH, now), 0)


@pytest.mark.parametrize(("was", "now"), [(ENOUGH - 1, 500), (500, ENOUGH - 1)])
def test_of_too_few_requests_nothing_is_concluded(was: int, now: int) -> None:
    told = Told()
    _judge(told.change, counted(was, 1), counted(now, 900), 0)
    assert told.rules == ["canary-short"]


@pytest.mark.parametrize(
    ("alike", "other", "wanted", "rules"),
    [(0, 0, 1.0, ["canary-short"]), (9, 1, 0.9, []), (8, 2, 0.5, ["canary-differs"])],
)
def test_answers_that_agree_are_counted(
    alike: int, other: int, wanted: float, rules: list[str]
) -> None:
    told = Told()
    counts: Any = {"alike": alike, "other": other, "failed": 0}
    _require_agreement(told.change, counts, wanted, "marsmith diff a b")
    assert told.rules == rules
    assert len(told.all) == 1


def test_too_few_that_agree_are_refused_with_the_command_that_shows_them() -> None:
    counts: Any = {"alike": 8, "other": 2, "failed": 0}
    with pytest.raises(RolloutError, check=coded("canary-worse")) as caught:
        _require_agreement(Told().change, counts, 0.9, "marsmith diff a b")
    assert tells(caught.value.message, 8, 10)
    assert "marsmith diff a b" in caught.value.hint
