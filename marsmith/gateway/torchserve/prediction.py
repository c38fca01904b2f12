"""One request's way to its answer: which TorchServe gets it, and whether it is asked again.

A caller has one request; that a worker or a front end ended meanwhile is not its business. A
request that two of them ended under is not sent a third time, since it may be the cause.
"""

from __future__ import annotations

import asyncio
import math
import time

from marsmith.client.async_transport import Arriving
from marsmith.client.http1 import LostError, NotConnectedError, NotHttpError
from marsmith.client.retries import MOST_DEATHS
from marsmith.core.errors import ClientError
from marsmith.gateway import refusals
from marsmith.gateway.backend import Answer, Call
from marsmith.gateway.torchserve.batches import Batches
from marsmith.gateway.torchserve.downtime import AWAY
from marsmith.gateway.torchserve.outcomes import (
    Outcome,
    answered_headers,
    connection_lost,
    no_token,
    nobody_up,
    outcome_of,
    server_away,
)
from marsmith.gateway.torchserve.servers import Servers
from marsmith.gateway.torchserve.upstream import Upstream

_PAUSE = 0.2  # seconds between two tries while workers start


class Prediction:
    """One request."""

    def __init__(self, call: Call, servers: Servers, batches: Batches) -> None:
        self._call = call
        self._servers = servers
        self._batches = batches
        self._deaths = 0
        self._alone = False  # whether others are kept out while it is asked
        self._sole = False  # whether it was the only one all the same
        self._sent = 0.0
        self._until: float | None = None  # a TorchServe that went away is waited for

    async def answer(self) -> Answer:
        """Return the handler's answer. Raises GatewayError if there is none."""
        while True:
            if self._until is None:
                self._until = min(time.monotonic() + AWAY, self._call.deadline)
            server = await self._servers.pick(self._until)
            try:
                arrived = await self._asked(server)
            except NotConnectedError as error:
                server.is_away(str(error))
                continue
            except LostError as error:
                self._until = None
                self._died(connection_lost(), error)
                continue
            except NotHttpError as error:
                raise refusals.GatewayError(
                    f"{server.target.url} is no TorchServe: {error}",
                    "name the inference address of a TorchServe: --url URL",
                    code="not-torchserve",
                    status=502,
                ) from error
            self._until = None
            outcome = outcome_of(arrived.response)
            if outcome is Outcome.ANSWER or self._failed_alone(outcome):
                return self._answer(arrived)
            await self._again(outcome, server)

    @property
    def _one_each(self) -> bool:
        known = self._servers.known(self._call)
        return known is not None and known.batch_size == 1

    @property
    def _timeout(self) -> float:
        """How many seconds a worker has for an answer."""
        known = self._servers.known(self._call)
        return (known.response_timeout if known else 0) or math.inf

    async def _asked(self, server: Upstream) -> Arriving:
        model = self._call.model
        if self._alone:
            async with self._batches.alone(model):
                self._sent = time.monotonic()
                return await server.ask(self._call)
        await self._batches.enter(model)
        try:
            self._sent = time.monotonic()
            first, begun = self._batches.is_sole(model), self._batches.begun[model]
            arrived = await server.ask(self._call)
            self._sole = first and (self._one_each or self._batches.begun[model] == begun)
            return arrived
        finally:
            self._batches.leave(model)

    async def _again(self, outcome: Outcome, server: Upstream) -> None:
        """Return if the request is sent again; raise the GatewayError of its outcome if not."""
        call = self._call
        model, version = call.model, self._servers.version_of(call)
        if outcome is Outcome.MODEL_UNKNOWN:
            raise refusals.model_unknown(model)
        if outcome is Outcome.VERSION_UNKNOWN:
            raise refusals.version_unknown(model, version)
        if outcome is Outcome.WORKER_DIED:
            if self._time_passed(server):
                self._late()
            else:
                self._died(refusals.worker_died(model, version))
            await self._worker_up(server)
        elif outcome is Outcome.BATCH_FAILED:
            self._alone = True
        elif outcome is Outcome.TOKEN_REFUSED:
            url = server.target.url
            away = server_away(url, "it refuses the gateway's token")
            raise away if server.target.key_file else no_token(url)
        else:
            if await self._is_up(server):
                known = self._servers.known(call)
                raise refusals.queue_full(model, known.pending_requests if known else 0)
            await asyncio.sleep(_PAUSE)

    async def _worker_up(self, server: Upstream) -> None:
        """Wait for a worker that is up, after one died.

        TorchServe lets a worker that fails to load take requests, and says that it died of them.
        """
        await asyncio.sleep(_PAUSE)  # what was seen before it died no longer holds
        while not await self._is_up(server):
            await asyncio.sleep(_PAUSE)

    async def _is_up(self, server: Upstream) -> bool:
        """Say whether a worker is up; raise GatewayError if none is waited for any longer."""
        call = self._call
        key = call.model, call.version
        down = await server.down(call)
        if down is None:
            server.downtime.is_up(key)
            return True
        now = time.monotonic()
        ends = server.downtime.ends_waiting(key, down, now)
        if now > call.deadline or (ends and now > server.grace_until):
            raise nobody_up(call.model, down.reason)
        return False

    def _time_passed(self, server: Upstream) -> bool:
        """Say whether a worker was ended since it did not answer in time.

        TorchServe says only that it died. Its time began when a worker was up, or later.
        """
        key = self._call.model, self._call.version
        begun = max(self._sent, server.downtime.last_seen(key))
        return time.monotonic() - begun >= self._timeout

    def _late(self) -> None:
        """Return if others may have taken the time; raise if not."""
        if self._alone or self._sole:
            raise refusals.too_late(self._call.model, self._timeout)
        self._alone = True

    def _failed_alone(self, outcome: Outcome) -> bool:
        """Say whether a request made its handler raise, and not one that shared its batch."""
        alone = self._alone or self._one_each
        return outcome is Outcome.BATCH_FAILED and alone

    def _died(self, error: ClientError, cause: Exception | None = None) -> None:
        self._deaths += 1
        if self._deaths >= MOST_DEATHS:
            raise error from cause

    def _answer(self, arrived: Arriving) -> Answer:
        said = arrived.response
        headers = answered_headers(said.headers)
        response = type(said)(said.status, said.reason, headers, said.body)
        return Answer(response, self._servers.version_of(self._call), rest=arrived.rest)
