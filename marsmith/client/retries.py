"""Retries: whether, after which pause, and until when a call is repeated.

A library (tenacity, stamina) would save only the loop. What decides is the server's Retry-After,
whether the request may have been carried out, and the deadline.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from marsmith.core.errors import ClientError, DeadlineError

# TorchServe's statuses for a request that was not carried out, or whose worker died: the queue is
# full or there is no worker (503), the worker ran out of memory (507). Proxies send 429.
RETRIED_STATUSES = frozenset({429, 503, 507})
# If a worker dies or hangs in another way, it is a 500 with these words (WorkerThread.java).
WORKER_DIED = "Worker died."
# A request that killed so many workers may kill the next one too, and with it other requests.
MOST_DEATHS = 2

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Retries:
    """The number of attempts, and the pauses between them.

    The n-th pause is random, between 0 and `first` · 2ⁿ⁻¹ seconds, at most `longest`, so that
    clients that failed together do not return together. The server's Retry-After is added; one
    above `patience` seconds ends the retries.
    """

    attempts: int = 4
    first: float = 0.1
    longest: float = 5.0
    patience: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or min(self.first, self.longest, self.patience) < 0:
            raise ValueError(f"{self} needs at least one attempt and no negative seconds")

    def pause(self, failures: int, retry_after: float = 0.0) -> float:
        """Return the pause after so many failures, in seconds; infinite: give up."""
        if failures >= self.attempts or retry_after > self.patience:
            return math.inf
        bound = min(self.longest, self.first * 2.0 ** min(failures - 1, 64))
        return retry_after + random.uniform(0, bound)  # noqa: S311 (no secret)


ONCE = Retries(attempts=1)


class Deadline:
    """The moment at which a call ends, whatever it is doing."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = math.inf if seconds is None else seconds
        self._end = time.monotonic() + self.seconds

    @property
    def left(self) -> float:
        """Seconds until then; 0 or less once it has passed, infinite if there is none."""
        return self._end - time.monotonic()

    def bounded(self, seconds: float | None) -> float | None:
        """Return the smaller of a timeout and what is left; never 0, which means no waiting.

        None stands for no limit.
        """
        least = min(max(self.left, 0.001), math.inf if seconds is None else seconds)
        return None if math.isinf(least) else least


def persistently(
    attempt: Callable[[], _Answer],
    retry_after: Callable[[_Answer | ClientError], float | None],
    retries: Retries,
    deadline: Deadline,
) -> _Answer:
    """Call `attempt` until its outcome is final; return or raise the last outcome.

    `retry_after` returns how many seconds to wait before a retry, None if an outcome is final. No
    pause goes beyond the deadline. If the last try hits the deadline, the outcome before it is
    returned: a refusal says more than that time is up.
    """
    failures = 0
    before: _Answer | ClientError | None = None
    while True:
        outcome: _Answer | ClientError
        try:
            outcome = attempt()
        except DeadlineError as error:
            outcome = error if before is None or deadline.left > 0 else before
        except ClientError as error:
            outcome = error
        failures += 1
        wanted = retry_after(outcome)
        pause = math.inf if wanted is None else retries.pause(failures, wanted)
        if pause < math.inf and pause < deadline.left:
            before = outcome
            time.sleep(pause)
        elif isinstance(outcome, ClientError):
            raise outcome
        else:
            return outcome
