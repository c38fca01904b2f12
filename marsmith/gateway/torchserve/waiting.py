"""Requests that wait for TorchServe's answer: looked at many times a second, all at once."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from marsmith.client.async_transport import Exchange
from marsmith.client.workers_up import PATIENCE, NoWorkerUpError, WorkerCheck, WorkersUp
from marsmith.gateway.backend import Call
from marsmith.gateway.refusals import too_late
from marsmith.gateway.torchserve.downtime import Downtime
from marsmith.gateway.torchserve.outcomes import nobody_up

_PAUSE = 0.05  # seconds


@dataclass(eq=False)
class Open:
    """One request that was sent. `checked` is when a look at the workers is due."""

    call: Call
    exchange: Exchange
    checked: float
    since: float = field(default_factory=time.monotonic)
    check: WorkerCheck | None = None


class Waiting:
    """The open requests to one TorchServe."""

    def __init__(self) -> None:
        self.workers: WorkersUp | None = None
        self.downtime = Downtime()
        self.requests: set[Open] = set()

    def add(self, call: Call, exchange: Exchange, *, grace_until: float) -> Open:
        """Look after a request. Nobody asks for workers before `grace_until`."""
        one = Open(call, exchange, max(time.monotonic() + PATIENCE, grace_until))
        self.requests.add(one)
        return one

    def fail(self, error: Exception) -> None:
        """End the waiting of all."""
        for one in tuple(self.requests):
            one.exchange.fail(error)

    async def watch(self) -> None:
        """End what waits too long, or for a model without workers."""
        while True:
            await asyncio.sleep(_PAUSE)
            now = time.monotonic()
            for one in tuple(self.requests):
                self._look(one, now)

    def _look(self, one: Open, now: float) -> None:
        call = one.call
        if now >= call.deadline:
            one.exchange.fail(too_late(call.model, round(now - one.since, 1)))
        elif now >= one.checked:
            if one.check is None and self.workers is not None:
                one.check = self.workers.for_request(call.model, call.version, PATIENCE)
            try:
                if one.check is not None:
                    one.check.look()
                    one.checked = now + min(one.check.pause, PATIENCE)
            except NoWorkerUpError as error:
                one.checked = now + PATIENCE
                if self.downtime.ends_waiting((call.model, call.version), error.down, now):
                    one.exchange.fail(nobody_up(call.model, error.down.reason))
