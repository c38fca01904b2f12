"""When a version gets a further worker, and when it has one too many."""

from __future__ import annotations

import pytest

from marsmith.gateway.local.scaling import IDLE, fewer, more


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
