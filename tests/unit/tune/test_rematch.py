"""marsmith/tune/rematch.py: several rounds of one configuration become one measurement."""

from __future__ import annotations

from dataclasses import replace

from marsmith.tune.rematch import _median
from tests.unit.tune.made import measurement


def test_medians_pass_over_the_round_that_was_disturbed() -> None:
    rounds = [measurement(rate=100, p99=0.010), measurement(rate=9, p99=0.900)]
    found = _median([*rounds, measurement(rate=110, p99=0.012)])
    assert (found.requests_per_second, found.p99, found.p50) == (100, 0.012, 0.006)
    assert found.seconds == 15.0  # of all rounds
    assert found.final


def test_one_wrong_answer_in_any_round_counts() -> None:
    wrong = replace(measurement(), failure="wrong")
    found = _median([measurement(), wrong, measurement()])
    assert (found.failure, found.final) == ("wrong", True)
