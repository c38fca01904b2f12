"""One TorchServe: whether it answers, what it serves, and requests to it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote

from marsmith.client import Model
from marsmith.client.async_transport import Arriving, AsyncTransport, Exchange
from marsmith.client.http1 import LostError, place_of, request_head
from marsmith.client.tokens import TokenSource, bearer, token_source
from marsmith.client.trust import trusting
from marsmith.client.workers_up import Down, WorkersUp
from marsmith.core.errors import ClientError, RefusedError, UnreachableError
from marsmith.gateway.backend import Call
from marsmith.gateway.torchserve.downtime import AWAY, Downtime
from marsmith.gateway.torchserve.outcomes import Outcome, outcome_of, sent_headers
from marsmith.gateway.torchserve.targets import Target
from marsmith.gateway.torchserve.waiting import Waiting

_LOOK = 1.0  # seconds between two looks at a server
_LOOK_AWAY = 0.2  # the same while it is away
_SILENT = 2  # looks without an answer, after which it is away
_TRIES = 3  # with a token: two rotations can meet one request


class Upstream:
    """One TorchServe."""

    def __init__(
        self, target: Target, find: Callable[[str], Target | None], changed: Callable[[], None]
    ) -> None:
        """`find` returns how an address is reached now; `changed` is called after each look."""
        self.target = target
        self._find = find
        self.up = True
        self.models: tuple[Model, ...] = ()
        self.reason = ""  # why it could not be looked at
        self.wants_token = False  # and we have none
        self._changed = changed
        self._back_at = -math.inf
        self._noticed = asyncio.Event()
        self._waiting = Waiting()
        self._connect()

    def _connect(self) -> None:
        target = self.target
        self.quick, self.changes = target.client(quick=True), target.client(quick=False)
        self.workers = WorkersUp(self.quick.described_soon)
        self._tokens: TokenSource = token_source(None, target.key_file)
        self._token: str | None = None
        self._waiting.workers = self.workers
        self._transport = AsyncTransport(place_of(target.url), trusting(target.certificate))

    @property
    def open_requests(self) -> int:
        """How many requests wait for it."""
        return len(self._waiting.requests)

    @property
    def grace_until(self) -> float:
        """Until when its workers may still be starting, since its front end was."""
        return self._back_at + AWAY

    @property
    def downtime(self) -> Downtime:
        """That of its versions."""
        return self._waiting.downtime

    async def close(self) -> None:
        """Close all connections."""
        self._transport.close()
        for client in (self.quick, self.changes):
            await asyncio.to_thread(client.close)

    # Whether it answers.

    async def watch(self) -> None:
        """Look at it, again and again, and at the requests that wait for it."""
        sweeping = asyncio.ensure_future(self._waiting.watch())
        try:
            silent = 0
            while True:
                silent = 0 if await self.look() else silent + 1
                if silent >= _SILENT:
                    self.is_away(self.reason)
                self._transport.drop_idle()
                self._changed()
                self._noticed.clear()
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._noticed.wait(), _LOOK if self.up else _LOOK_AWAY)
        finally:
            sweeping.cancel()

    async def look(self) -> bool:
        """Ask what it serves; returns whether it answers."""
        try:
            found = None if self.up else self._find(self.target.url)
            if found is not None and found != self.target:
                await self.close()
                self.target = found
                self._connect()
            begun = time.monotonic()
            self.models = tuple(await asyncio.to_thread(self.quick.models))
            self.downtime.looked(self.models, begun)
            self.reason, self.wants_token = "", False
        except UnreachableError as error:
            self.is_away(f"its management API: {error.message}")
            return False
        except RefusedError as error:  # it answers
            self.reason = error.message
            self.wants_token = error.code == "token-refused" and self.target.key_file is None
        except ClientError as error:
            self.reason = error.message
            return False
        if not self.up:
            self.up, self._back_at = True, time.monotonic()
        return True

    def is_away(self, reason: str) -> None:
        """Send it nothing until it answers again; what waits for it is lost."""
        self.reason = reason
        if self.up:
            self.up = False
            self._waiting.fail(LostError(reason))
            self._noticed.set()

    # Requests.

    async def ask(self, call: Call) -> Arriving:
        """Send a request once. Raises what AsyncTransport.send does, and GatewayError."""
        if self._token is None and self.target.key_file is not None:
            self._token = await asyncio.to_thread(self._tokens.token, "inference")
        for left in range(_TRIES, 0, -1):
            sent = self._token
            arrived = await self._once(call)
            if outcome_of(arrived.response) is not Outcome.TOKEN_REFUSED:
                break
            if sent == self._token and left > 1:  # else another request has read the new one
                renewed = await asyncio.to_thread(self._tokens.renewed, "inference", sent)
                self._token = renewed or self._token
        return arrived

    async def _once(self, call: Call) -> Arriving:
        request = call.request
        headers = sent_headers(request.sent_headers())
        if call.told and not request.sent_type:  # bytes that curl called a form
            headers["Content-Type"] = "application/octet-stream"
        if self._token is not None:
            headers["Authorization"] = bearer(self._token)
        place, length = self._transport.place, len(request.body)
        head = request_head("POST", place, _path(call), headers, length)
        exchange = Exchange()
        waiting = self._waiting.add(call, exchange, grace_until=self.grace_until)
        try:
            return await self._transport.send(head, request.body, exchange)
        finally:
            self._waiting.requests.discard(waiting)

    async def down(self, call: Call) -> Down | None:
        """Return why no worker can answer, if so."""
        return await asyncio.wrap_future(self.workers.check((call.model, call.version)))


def _path(call: Call) -> str:
    parts = ["explanations" if call.explain else "predictions", call.model]
    parts += [call.version] if call.version is not None else []
    path = "/" + "/".join(quote(part, safe="", errors="replace") for part in parts)
    return f"{path}/{quote(call.path, safe='/')}" if call.path else path
