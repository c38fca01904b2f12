"""How many workers a version should have, between its bounds; no IO."""

from __future__ import annotations

from collections.abc import Sequence

# Seconds for which too many requests must wait: a short burst is over before a worker is up.
PRESSED = 0.2
# Seconds after which a request has waited too long, if no worker is free for it or loads.
OLD = 0.2
# Seconds without a request after which a worker is too many: its model takes seconds to load again.
IDLE = 30.0
# A queue that the workers empty in so many batches needs no further worker.
_BATCHES = 2


def more(wanted: int, most: int, waiting: int, batch_size: int) -> bool:
    """Whether a further worker is needed for the requests that wait."""
    return wanted < most and waiting > _BATCHES * batch_size * wanted


def too_old(wanted: int, most: int, age: float, coming: int) -> bool:
    """Whether a further worker is needed because the oldest request waits for too long.

    `coming` workers will take it soon: they are free, and wait for a batch to fill, or they load.
    """
    return wanted < most and not coming and age > OLD


def fewer(wanted: int, least: int, idle: Sequence[float]) -> int:
    """Return how many workers are enough; `idle` tells for how long the idle ones have been."""
    return max(least, wanted - sum(seconds >= IDLE for seconds in idle))
