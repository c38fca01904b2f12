"""marsmith/deploy/canary.py: what is judged of a new version, once its figures are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from marsmith.core.errors import RolloutError
from marsmith.core.findings import Finding
from marsmith.core.interrupts import StopRequest
from marsmith.deploy.canary import ENOUGH, _judge, _missing, _require_agreement, _require_few
from marsmith.deploy.canary_routes import Report
from marsmith.deploy.options import CanaryOptions
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


def report(
    requests: int = ENOUGH, mean: float = 1.0, usual_mean: float = 1.0, **more: int
) -> Report:
    """Return what gateways saw: the default version answered as many requests."""
    seconds, usual = requests * mean / 1000, requests * usual_mean / 1000
    return Report(requests, seconds, requests, usual, **more)


@pytest.mark.parametrize(
    ("failures", "requests", "fails"),
    [(0, 0, False), (1, 0, False), (2, 0, True), (2, 199, True), (2, 200, False), (3, 200, True)],
)
def test_one_failure_is_an_accident_and_one_in_a_hundred_is_the_most(
    failures: int, requests: int, fails: bool
) -> None:
    if not fails:
        _require_few(report(requests, failed=failures))
        return
    with pytest.raises(RolloutError, check=coded("canary-worse")):
        _require_few(report(requests, failed=failures))


@pytest.mark.parametrize(("was", "now"), [(10, 20), (1, 6.4), (100, 155)])
def test_a_version_as_slow_as_may_be_is_told_with_its_figures(was: float, now: float) -> None:
    told = Told()
    _judge(told.change, report(ENOUGH, now, was))
    assert tells(str(told.all[0]), ENOUGH, f"{now:.1f} ms", f"{was:.1f} ms")


@pytest.mark.parametrize(("was", "now"), [(10, 20.1), (1, 6.6), (100, 156)])
def test_a_slower_version_is_refused(was: float, now: float) -> None:
    with pytest.raises(RolloutError, check=coded("canary-worse")):
        _judge(Told().change, report(ENOUGH, now, was))


@pytest.mark.parametrize(
    ("seen", "agreement", "words"),
    [
        (Report(ENOUGH - 1, 1.0, 500, 1.0, alike=5), 0.0, [ENOUGH - 1, 500, ENOUGH]),
        (Report(500, 1.0, ENOUGH - 1, 1.0, alike=5), 0.0, [500, ENOUGH - 1]),
        (Report(500, 1.0, 500, 1.0), 0.5, []),
    ],
)
def test_too_little_evidence_says_how_much_is_missing(
    seen: Report, agreement: float, words: list[object]
) -> None:
    missing = _missing(seen, CanaryOptions(0.1, agreement=agreement))
    assert missing
    assert tells(missing, *words)


def test_enough_evidence_lacks_nothing() -> None:
    assert _missing(report(), CanaryOptions(0.1)) is None
    assert _missing(report(alike=1), CanaryOptions(0.1, agreement=0.9)) is None


@pytest.mark.parametrize(("alike", "other", "rules"), [(9, 1, []), (8, 2, ["canary-differs"])])
def test_answers_that_agree_are_counted(alike: int, other: int, rules: list[str]) -> None:
    told = Told()
    _require_agreement(told.change, report(alike=alike, other=other), 0.5, "marsmith diff a b")
    assert told.rules == rules
    assert len(told.all) == 1


def test_too_few_that_agree_are_refused_with_the_command_that_shows_them() -> None:
    with pytest.raises(RolloutError, check=coded("canary-worse")) as caught:
        _require_agreement(Told().change, report(alike=8, other=2), 0.9, "marsmith diff a b")
    assert tells(caught.value.message, 8, 10)
    assert "marsmith diff a b" in caught.value.hint
