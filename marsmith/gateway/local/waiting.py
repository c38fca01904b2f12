"""Requests that wait for a worker, and for its answer."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from marsmith.answers.messages import Response
from marsmith.core.errors import MarsmithError
from marsmith.gateway.backend import Answer, Call
from marsmith.gateway.refusals import queue_full
from marsmith.torchserve.worker_protocol import goes_on


class Parts:
    """The parts of an answer after the first, as they come."""

    def __init__(self) -> None:
        self._parts: asyncio.Queue[bytes | MarsmithError | None] = asyncio.Queue()

    def put(self, part: bytes | MarsmithError | None) -> None:
        """Add a part, the error that ends them, or None at their end."""
        self._parts.put_nowait(part)

    def __aiter__(self) -> Parts:
        return self

    async def __anext__(self) -> bytes:
        part = await self._parts.get()
        if isinstance(part, MarsmithError):
            raise part
        if part is None:
            raise StopAsyncIteration
        return part


class Waiting:
    """A request from its arrival to the end of its answer."""

    __slots__ = ("alone", "answer", "arrived", "deaths", "encoded", "id", "rest", "sent", "version")

    def __init__(self, call: Call, version: str, encoded: bytes) -> None:
        """`encoded` is the request as a worker reads it."""
        self.id = call.id
        self.version = version
        self.encoded = encoded
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.arrived = self.sent = time.monotonic()
        # Whether it shares no batch; TorchServe never batches a request for a description.
        self.alone = "describe" in call.request.headers
        self.deaths = 0  # workers that died while they had it
        self.rest: Parts | None = None

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for its first part any more."""
        return self.answer.done()

    def take(self, part: Response, batch: int) -> bool:
        """Take an answer, or a part of it; return whether more parts follow."""
        more = goes_on(part)
        if self.rest is not None:
            self.rest.put(part.body)
            if not more:
                self.rest.put(None)
                self.rest = None
        elif not self.answer.done():
            self.rest = Parts() if more else None
            computed = time.monotonic() - self.sent
            queued = self.sent - self.arrived
            self.answer.set_result(Answer(part, self.version, queued, computed, batch, self.rest))
        return more

    def fail(self, error: MarsmithError) -> None:
        """Answer by an error; after the first part, it ends the answer."""
        if self.rest is not None:
            self.rest.put(error)
            self.rest = None
        elif not self.answer.done():
            self.answer.set_exception(error)


class RequestQueue:
    """The requests that wait for a worker of a version."""

    def __init__(self, model: str, limit: int) -> None:
        """Take up to `limit` requests at once."""
        self._model = model
        self._limit = limit
        self._alone: deque[Waiting] = deque()
        self._waiting: deque[Waiting] = deque()

    def __len__(self) -> int:
        return len(self._alone) + len(self._waiting)

    @property
    def room(self) -> int:
        """How many more may wait."""
        return max(0, self._limit - len(self))

    @property
    def oldest(self) -> float:
        """When the first of those arrived that may share a batch; there must be one."""
        return self._waiting[0].arrived

    @property
    def age(self) -> float:
        """For how many seconds the oldest request has waited; 0 without any."""
        heads = [queue[0].arrived for queue in (self._alone, self._waiting) if queue]
        return time.monotonic() - min(heads) if heads else 0.0

    @property
    def has_lone(self) -> bool:
        """Whether a request waits that goes into a batch of its own."""
        return bool(self._alone)

    def add(self, request: Waiting) -> None:
        """Add a request. Raises GatewayError if too many wait already."""
        if len(self) >= self._limit:
            raise queue_full(self._model, len(self))
        (self._alone if request.alone else self._waiting).append(request)

    def again(self, request: Waiting) -> None:
        """Add a request again, to be sent alone and before all others."""
        request.alone = True
        self._alone.append(request)

    def put_back(self, batch: Sequence[Waiting]) -> None:
        """Add a batch again that no worker has begun, before all that share batches."""
        self._waiting.extendleft(reversed(batch))

    def remove(self, request: Waiting) -> None:
        """Forget a request whose caller has gone, if it still waits."""
        for one in (self._waiting, self._alone):
            if request in one:
                one.remove(request)

    def take(self, most: int) -> list[Waiting]:
        """Return the next batch, of `most` requests at most."""
        while self._alone:
            lone = self._alone.popleft()
            if not lone.is_over:
                return [lone]
        batch: list[Waiting] = []
        while self._waiting and len(batch) < most:
            request = self._waiting.popleft()
            if not request.is_over:
                batch.append(request)
        return batch

    def fail_all(self, error: MarsmithError) -> None:
        """Answer all by an error."""
        while batch := self.take(len(self)):
            for request in batch:
                request.fail(error)
