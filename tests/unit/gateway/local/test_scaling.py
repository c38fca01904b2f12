"""When a version gets a further worker, and when it has one too many."""

from __future__ import annotations

import pytest

from marsmith.gateway.local.scaling import IDLE, OLD, fewer, more, too_old


@pytest.mark.parametrize(
    ("wanted", "most", "waiting", "needed"),
    [
        (1, 2, 16, False),  # two batches of the one worker
        (1, 2, 17, True),
        (2, 3, 32, False),
        (2, 3, 33, True),
        (2, 2, 1000, False),
        (0, 1, 1, True),
        (0, 1, 0, False),
    ],
)
def test_more_workers(wanted: int, most: int, waiting: int, needed: bool) -> None:
    assert more(wanted, most, waiting, batch_size=8) == needed


@pytest.mark.parametrize(
    ("wanted", "most", "age", "coming", "needed"),
    [
        (1, 2, OLD + 0.01, 0, True),
        (1, 2, OLD, 0, False),
        (2, 2, 60.0, 0, False),
        (1, 4, 60.0, 1, False),  # a worker loads, or lets a batch fill
        (0, 1, 0.0, 0, False),  # nothing waits
    ],
)
def test_a_further_worker_for_a_request_that_waits_too_long(
    wanted: int, most: int, age: float, coming: int, needed: bool
) -> None:
    assert too_old(wanted, most, age, coming) == needed


@pytest.mark.parametrize(
    ("wanted", "least", "idle", "left"),
    [
        (3, 1, [IDLE, 0.0, IDLE], 1),
        (3, 2, [IDLE, IDLE, IDLE], 2),
        (2, 1, [IDLE - 1, 5.0], 2),
        (1, 1, [IDLE * 9], 1),
    ],
)
def test_fewer_workers(wanted: int, least: int, idle: list[float], left: int) -> None:
    assert fewer(wanted, least, idle) == left
