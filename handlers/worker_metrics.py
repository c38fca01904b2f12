"""Metrics at most once a second: TorchServe's worker writes a line per batch to its front end.

Writing it, and reading it over there, took a tenth of the time of a small model's request.
"""

from __future__ import annotations

import time
from typing import Any

_PERIOD = 1.0  # seconds; nobody scrapes more often
_TIME = "PredictionTime"  # a gauge (ts/service.py): of several values the last one counts


def pace(metrics: Any) -> None:
    """Let a worker's `context.metrics` pass on the prediction time only so often."""
    if not hasattr(metrics, "add_time"):  # in-process there may be none
        return
    add_time, last = metrics.add_time, -_PERIOD

    def paced(name: str, *arguments: Any, **named: Any) -> None:
        nonlocal last
        now = time.monotonic()
        if name == _TIME:
            if now - last < _PERIOD:
                return
            last = now
        add_time(name, *arguments, **named)

    metrics.add_time = paced
