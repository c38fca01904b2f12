"""When a call is made once more, after which pause, and until when; whoever carries it.

Written here because a library for it (tenacity, stamina) would save the loop alone: what decides
is the server's Retry-After, whether a request may have been carried out, and the deadline.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from marsmith.core.errors import ClientError, DeadlineError

# What TorchServe says when a request was not carried out, or its worker died under it: the queue
# is full or no worker is there (503), no memory was left for the worker (507). 429 is what proxies
# say.
RETRIED_STATUSES = frozenset({429, 503, 507})
# A worker that dies or hangs otherwise makes it a 500 of these words (WorkerThread.java).
WORKER_DIED = "Worker died."
# A request under which so many workers died may be what kills them, and their neighbours pay.
MOST_DEATHS = 2

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Retries:
    """How often to ask in all, and how long to pause in between.

    The n-th pause is drawn between 0 and `first` · 2ⁿ⁻¹ seconds, `longest` at most: clients that
    failed together shall not come back together. What a server's Retry-After says is added; one
    beyond `patience` seconds is not waited for.
    """

    attempts: int = 4
    first: float = 0.1
    longest: float = 5.0
    patience: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or min(self.first, self.longest, self.patience) < 0:
            raise ValueError(f"{self} needs at least one attempt and no negative seconds")

    def pause(self, failures: int, retry_after: float = 0.0) -> float:
        """Return how long to wait after so many failures, in seconds; infinite: give up."""
        if failures >= self.attempts or retry_after > self.patience:
            return math.inf
        bound = min(self.longest, self.first * 2.0 ** min(failures - 1, 64))
        return retry_after + random.uniform(0, bound)  # noqa: S311 (no secret)


ONCE = Retries(attempts=1)


class Deadline:
    """A moment that a call ends at, whatever it is doing then."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = math.inf if seconds is None else seconds
        self._end = time.monotonic() + self.seconds

    def half(self) -> Deadline:
        """Return one that leaves as much time again after it."""
        return Deadline(None if math.isinf(self.left) else self.left / 2)

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
    """Call `attempt` until it gives an answer that counts; return or raise the last outcome.

    `retry_after` says of an outcome how many seconds the server wants to be left alone, None if
    it counts. A pause that would reach beyond the deadline is not begun, and a try that meets it
    changes nothing: the refusal before says more than that time is up.
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
