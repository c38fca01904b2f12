"""Load on a server while something goes wrong with it: every answer is compared and counted."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from marsmith.answers.messages import Response
from marsmith.core.errors import ClientError

DEADLINE = 60.0  # seconds that a request has; without an answer then, it is lost

# What a request gets: its answer, or a ClientError where there is none.
Ask = Callable[[bytes], Response]


@dataclass
class Tally:
    """What became of the requests. `lost`: no answer within the deadline, or connection lost."""

    sent: int = 0
    right: int = 0
    refused: int = 0  # with a status of 4xx or 5xx and a reason
    wrong: int = 0
    lost: int = 0
    slowest: float = 0.0  # seconds that the slowest answer took
    slowest_refusal: float = 0.0  # seconds
    reasons: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, kind: str, seconds: float, reason: str = "") -> None:
        """Count one request that ended."""
        with self._lock:
            self.sent += 1
            setattr(self, kind, getattr(self, kind) + 1)
            self.slowest = max(self.slowest, seconds)
            if kind == "refused":
                self.slowest_refusal = max(self.slowest_refusal, seconds)
            if reason:
                self.reasons[f"{kind}: {reason}"] += 1

    def figures(self) -> dict[str, float]:
        """Return what is reported."""
        names = ("sent", "right", "refused", "wrong", "lost", "slowest")
        return {name: round(getattr(self, name), 2) for name in names}

    def __str__(self) -> str:
        told = ", ".join(f"{number} x {reason}" for reason, number in self.reasons.most_common(4))
        counts = " ".join(f"{name} {value:g}" for name, value in self.figures().items())
        return f"{counts} s" + (f" ({told})" if told else "")


def expected(body: bytes) -> bytes:
    """Return the right answer to a request: what `digest` of archives.py answers."""
    return hashlib.sha256(body).hexdigest().encode()


def judge(tally: Tally, ask: Ask, body: bytes, right: bytes) -> None:
    """Send one request and count what comes of it."""
    begun = time.monotonic()
    try:
        answer = ask(body)
    except ClientError as error:
        tally.count("lost", time.monotonic() - begun, error.message)
        return
    seconds = time.monotonic() - begun
    if answer.ok and answer.body == right:
        tally.count("right", seconds)
    elif answer.status >= 400 and answer.body.strip():  # with a reason
        tally.count("refused", seconds, f"{answer.status} {answer.complaint}")
    else:
        tally.count("wrong", seconds, f"{answer.status} {answer.body[:80]!r}")


@contextmanager
def load(ask: Ask, connections: int, body: Callable[[int], bytes] | None = None) -> Iterator[Tally]:
    """Ask all the time from so many threads; at the end every request has its outcome."""
    tally, over, numbers = Tally(), threading.Event(), itertools.count()
    make = body or (lambda number: f"request {number}".encode())

    def work() -> None:
        while not over.is_set():
            one = make(next(numbers))
            judge(tally, ask, one, expected(one))

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    try:
        yield tally
    finally:
        over.set()
        for thread in threads:
            thread.join()
