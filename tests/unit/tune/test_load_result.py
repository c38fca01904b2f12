"""marsmith/tune/load_result.py."""

from __future__ import annotations

from collections import Counter

import pytest

from marsmith.tune.load_result import LoadResult


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 0.1), (1, 0.1), (25, 0.1), (26, 0.2), (50, 0.2), (100, 0.4)]
)
def test_a_percentile_is_a_latency_that_was_measured(percent: float, expected: float) -> None:
    assert LoadResult(1.0, [0.4, 0.1, 0.3, 0.2]).percentile(percent) == expected


def test_who_still_waits_counts_in_the_open_loop_alone() -> None:
    closed = LoadResult(1.0, [0.1] * 9, waiting=[5.0])
    assert closed.percentile(99) == 0.1
    assert LoadResult(1.0, [0.1] * 9, waiting=[5.0], open_loop=True).percentile(99) == 5.0


@pytest.mark.parametrize("open_loop", [False, True])
def test_without_any_answer_the_longest_wait_is_what_is_known(open_loop: bool) -> None:
    none = LoadResult(2.0, waiting=[0.5, 2.0], open_loop=open_loop)
    assert (none.requests_per_second, none.percentile(50 if not open_loop else 100)) == (0.0, 2.0)
    assert LoadResult().percentile(99) == 0.0


def test_two_periods_are_one_and_who_waited_in_the_first_is_not_counted_twice() -> None:
    first = LoadResult(1.0, [0.1], Counter({"503": 1}), {(0, b"a")}, [0.9])
    both = first + LoadResult(3.0, [0.2, 0.3], Counter({"503": 2}), {(1, b"b")}, [0.4])
    assert (both.seconds, both.latencies, both.waiting) == (4.0, [0.1, 0.2, 0.3], [0.4])
    assert both.failures == {"503": 3}
    assert both.answers == {(0, b"a"), (1, b"b")}
    assert both.requests_per_second == 0.75
