"""Turn stop signals into a request that is checked between steps, so that each step completes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Protocol


class Stop(Protocol):
    """Tells code that works in steps whether to stop before the next one."""

    @property
    def requested(self) -> bool:
        """Whether the user wants to stop."""


@dataclass
class StopRequest:
    """`requested` becomes true once the user wants to stop."""

    requested: bool = False


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Turn Ctrl-C, SIGTERM and a closed terminal into a request to stop."""
    request = StopRequest()

    def stop(_number: int, _frame: FrameType | None) -> None:
        request.requested = True

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as under nohup
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
