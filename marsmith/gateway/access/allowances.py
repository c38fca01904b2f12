"""How much of its limits each key has used; no IO."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from marsmith.gateway.access.keys import Key, Limits
from marsmith.gateway.access.refusals import refusal


class Bucket:
    """Fills at `rate` a second up to one second's worth, at least one; what is taken drains it.

    It may be drained below zero: a body counts once it has been read, and delays the next one.
    """

    def __init__(self, rate: float | None, now: float) -> None:
        """Begin full; without a rate it never runs dry."""
        self._rate = rate or math.inf
        self._most = self.level = max(1.0, self._rate)
        self._at = now

    def wait(self, needed: float, now: float) -> float:
        """Return in how many seconds so much can be taken; 0 if it can be now."""
        if self._rate == math.inf:
            return 0.0
        self.level = min(self._most, self.level + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, (needed - self.level) / self._rate)


class Allowance:
    """What one key has used of its limits."""

    def __init__(self, limits: Limits, now: float) -> None:
        """Begin with nothing used."""
        self.limits = limits
        self._open = 0
        self._requests = Bucket(limits.rate, now)
        self._bytes = Bucket(limits.bytes_per_second, now)

    def begin(self, name: str, now: float, *, paid: bool = False) -> None:
        """Count a request that begins. Raises GatewayError, with 429, if it may not now.

        One that is `paid` was counted when it came: only how many are open matters.
        """
        most = self.limits.concurrent
        if most is not None and self._open >= most:
            limit, cure = f"{most} open requests", "send the next one once one is answered"
            raise refusal("key-limit", name=name, limit=limit, cure=cure, retry_after=1)
        if paid:
            self._open += 1
            return
        waits = {
            f"{self.limits.bytes_per_second} bytes/s": self._bytes.wait(0.0, now),
            f"{self.limits.rate} requests/s": self._requests.wait(1.0, now),
        }
        limit, wait = max(waits.items(), key=lambda one: one[1])
        if wait:
            seconds = math.ceil(wait)
            cure = f"send it again in {seconds} s"
            raise refusal("key-limit", name=name, limit=limit, cure=cure, retry_after=seconds)
        self._requests.level -= 1.0
        self._open += 1

    def end(self, received: int) -> None:
        """Count a request that has ended, with so many bytes of body."""
        self._open -= 1
        self._bytes.level -= received


class Allowances:
    """The allowances of all keys that have limits."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without any."""
        self._clock = clock
        self._by_key: dict[str, Allowance] = {}

    def begin(self, key: Key, *, paid: bool = False) -> Allowance | None:
        """Count a request that begins; None for a key without limits. Raises GatewayError."""
        if key.limits == Limits():
            return None
        now = self._clock()
        found = self._by_key.get(key.id)
        if found is None or found.limits != key.limits:
            found = self._by_key[key.id] = Allowance(key.limits, now)
        found.begin(key.name, now, paid=paid)
        return found
