"""What a load brought: requests per second, latencies, failures; no IO."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class LoadResult:
    """What came in a stretch of time. Latencies are in seconds."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)  # of answers with a status of 2xx
    failures: Counter[str] = field(default_factory=Counter)  # all others, by reason
    answers: set[tuple[int, bytes]] = field(default_factory=set)  # of the share that is checked
    # How long those had waited at the end that had no answer yet: in the open loop all that were
    # due, in the closed loop those under way.
    waiting: list[float] = field(default_factory=list)
    open_loop: bool = False

    @property
    def requests_per_second(self) -> float:
        """How many requests were answered with 2xx, per second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def percentile(self, percent: float) -> float:
        """Return the latency that so many percent do not exceed (nearest rank), in seconds.

        In the open loop those that still wait count with what they have waited so far, so that a
        server that falls behind cannot hide it. Without any answer: the longest wait.
        """
        values = sorted(self.latencies + self.waiting if self.open_loop else self.latencies)
        if not values:
            return max(self.waiting, default=0.0)
        return values[max(0, -int(-len(values) * percent // 100) - 1)]

    def __add__(self, later: LoadResult) -> LoadResult:
        """Return both stretches as one."""
        return LoadResult(
            self.seconds + later.seconds,
            self.latencies + later.latencies,
            self.failures + later.failures,
            self.answers | later.answers,
            later.waiting,
            later.open_loop,
        )
