"""The result of a load: requests per second, latencies, failures; no IO."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class LoadResult:
    """The answers in a period. Latencies are in seconds."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)  # of answers with a status of 2xx
    failures: Counter[str] = field(default_factory=Counter)  # all others, by reason
    answers: set[tuple[int, bytes]] = field(default_factory=set)  # of the share that is checked
    # How long requests without an answer had waited at the end: in the open loop all that were
    # due, in the closed loop those in flight.
    waiting: list[float] = field(default_factory=list)
    open_loop: bool = False

    @property
    def requests_per_second(self) -> float:
        """The rate of answers with 2xx."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def percentile(self, percent: float) -> float:
        """Return a percentile of the latencies (nearest rank), in seconds.

        In the open loop, waiting requests count with their wait so far, so that a server that falls
        behind cannot hide it. Without any answer, it is the longest wait.
        """
        values = sorted(self.latencies + self.waiting if self.open_loop else self.latencies)
        if not values:
            return max(self.waiting, default=0.0)
        return values[max(0, -int(-len(values) * percent // 100) - 1)]

    def __add__(self, later: LoadResult) -> LoadResult:
        """Return the result of both periods together."""
        return LoadResult(
            self.seconds + later.seconds,
            self.latencies + later.latencies,
            self.failures + later.failures,
            self.answers | later.answers,
            later.waiting,
            later.open_loop,
        )
