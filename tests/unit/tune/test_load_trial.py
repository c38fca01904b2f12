"""marsmith/tune/load_trial.py: when a trial is given up."""

from __future__ import annotations

from marsmith.tune.load_trial import is_hopeless
from tests.unit.tune.made import measurement


def test_what_is_far_behind_is_given_up_early_and_what_is_near_late() -> None:
    near, far = measurement(rate=85), measurement(rate=60)
    assert is_hopeless(far, 1 / 6, 100, 0.05)
    assert not is_hopeless(near, 1 / 6, 100, 0.05)
    assert is_hopeless(near, 5 / 6, 100, 0.05)
    assert is_hopeless(measurement(p99=0.1), 1 / 6, 0, 0.05)
    assert not is_hopeless(measurement(p99=0.06), 1 / 6, 0, 0.05)
