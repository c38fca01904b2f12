"""How much each key may ask for: requests a second, open requests, bytes a second; no IO."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from marsmith.gateway.access.keys import NO_LIMITS, Key, Limits
from marsmith.gateway.access.refusals import too_many

Clock = Callable[[], float]


class Bucket:
    """Fills at `rate` a second up to one second's worth, at least one; what is taken drains it.

    It may be drained below zero: a body counts once it has been read, and delays the next one.
    """

    def __init__(self, rate: float, now: float) -> None:
        """Begin full."""
        self._rate = rate
        self._most = max(1.0, rate)
        self._level = self._most
        self._at = now

    def wait(self, needed: float, now: float) -> float:
        """Return in how many seconds so much can be taken; 0 if it can be now."""
        self._level = min(self._most, self._level + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, (needed - self._level) / self._rate)

    def take(self, amount: float) -> None:
        """Take so much, whatever is left."""
        self._level -= amount


class Allowance:
    """What one key has used of its limits."""

    def __init__(self, limits: Limits, now: float) -> None:
        """Begin with nothing used."""
        self.limits = limits
        self.open = 0
        self._requests = Bucket(limits.rate, now) if limits.rate else None
        self._bytes = Bucket(limits.bytes_per_second, now) if limits.bytes_per_second else None

    def begin(self, name: str, now: float) -> None:
        """Count a request that begins. Raises GatewayError, with 429, if it may not now."""
        limits = self.limits
        if limits.concurrent is not None and self.open >= limits.concurrent:
            raise too_many(name, f"{limits.concurrent} open requests", 1)
        if self._bytes is not None and (wait := self._bytes.wait(0.0, now)):
            raise too_many(name, f"{limits.bytes_per_second:g} bytes/s", math.ceil(wait))
        if self._requests is not None:
            if wait := self._requests.wait(1.0, now):
                raise too_many(name, f"{limits.rate:g} requests/s", math.ceil(wait))
            self._requests.take(1.0)
        self.open += 1

    def end(self, received: int) -> None:
        """Count a request that has ended, with so many bytes of body."""
        self.open -= 1
        if self._bytes is not None:
            self._bytes.take(received)


class Allowances:
    """The allowances of all keys that have limits."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        """Begin without any."""
        self._clock = clock
        self._by_key: dict[str, Allowance] = {}

    def begin(self, key: Key) -> Allowance | None:
        """Count a request that begins; None for a key without limits. Raises GatewayError."""
        if key.limits == NO_LIMITS:
            return None
        now = self._clock()
        found = self._by_key.get(key.id)
        if found is None or found.limits != key.limits:
            found = self._by_key[key.id] = Allowance(key.limits, now)
        found.begin(key.name, now)
        return found
