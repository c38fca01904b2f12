"""marsmith/tune/optimizer.py."""

from __future__ import annotations

from marsmith.tune.optimizer import Study
from marsmith.tune.space import Configuration
from tests.unit.tune.made import measurement, space


def test_the_search_finds_nearly_the_best_in_a_fifth_of_the_configurations() -> None:
    everything = list(space())
    best = max(_rate(one) for one in everything if _late(one) <= 0.05)
    study, found = Study(space(), 0.05), 0.0
    for _ in range(len(everything) // 5):
        one = study.ask()
        assert one is not None
        study.tell(measurement(one, _rate(one), _late(one)))
        found = max(found, _rate(one)) if _late(one) <= 0.05 else found
    assert found >= 0.95 * best


def _rate(one: Configuration) -> float:
    """Return what a server would do whose batches save work, and whose delays waste time."""
    batch = min(one.batch_size, 64 // one.workers)
    rate: float = one.workers**0.7 * 64000 / (12 + 300 / batch + one.max_batch_delay * 2)
    return rate


def _late(one: Configuration) -> float:
    return 64 / _rate(one) * (1 + one.batch_size / 40)


def test_a_space_that_is_used_up_ends_the_search() -> None:
    tiny = space(connections=1, goal=0.001)
    study = Study(tiny, 0.001)
    asked = []
    while (one := study.ask()) is not None:
        asked.append(one)
        study.tell(measurement(one))
    assert sorted(asked, key=str) == sorted(tiny, key=str)
