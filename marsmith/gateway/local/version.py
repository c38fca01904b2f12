"""One version of a model, with its queue and its workers."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable

from marsmith.archive.reader import Archive
from marsmith.client.description import Model
from marsmith.gateway.backend import Answer, Call, Event, EventKind
from marsmith.gateway.local.dispatcher import Dispatcher
from marsmith.gateway.local.pool import WorkerPool
from marsmith.gateway.local.starting import Starter
from marsmith.gateway.local.waiting import RequestQueue, Waiting
from marsmith.gateway.refusals import GatewayError, no_worker_up, too_late
from marsmith.torchserve.worker_protocol import encode_request


class ServedVersion:
    """A version that is served."""

    def __init__(self, starter: Starter, queue: int, tell: Callable[[Event], None]) -> None:
        """`queue` requests may wait; `tell` is called for what happens to its workers."""
        serving = starter.serving
        self.name, self.version = serving.name, serving.version
        self.archive: Archive = starter.archive
        self.loaded_at_startup = True
        self._serving = serving
        self._starter = starter
        self._tell = tell
        self._dispatcher = Dispatcher(
            self.name,
            self.version,
            RequestQueue(self.name, queue),
            batch_size=serving.batch_size,
            delay=serving.max_batch_delay / 1000,
            timeout=serving.response_timeout,
        )
        self.pool = WorkerPool(
            self._dispatcher,
            starter,
            serving.min_workers,
            serving.max_workers,
            serving.batch_size,
            self._happened,
            self._refusal,
        )

    async def answer(self, call: Call) -> Answer:
        """Answer a request."""
        if self.pool.is_hopeless:
            raise self.pool.refusal
        encoded = encode_request(
            call.request, call.id, path=call.path, explain=call.explain, told=call.told
        )
        request = Waiting(call, self.version, encoded)
        late = self._fail_later(request, call.deadline)
        try:
            self._dispatcher.submit(request)
            return await request.answer
        except asyncio.CancelledError:
            self._dispatcher.queue.remove(request)
            raise
        finally:
            if late is not None:
                late.cancel()

    def _fail_later(self, request: Waiting, deadline: float) -> asyncio.TimerHandle | None:
        if deadline == float("inf"):
            return None
        left = deadline - time.monotonic()
        error = too_late(self.name, max(left, 0.0))
        return asyncio.get_running_loop().call_later(left, self._give_up, request, error)

    def _give_up(self, request: Waiting, error: GatewayError) -> None:
        self._dispatcher.queue.remove(request)
        if not request.answer.done():
            request.answer.set_exception(error)

    async def close(self) -> None:
        """Let open requests end, then end the workers."""
        await self.pool.close()
        shutil.rmtree(self._starter.model, ignore_errors=True)

    def describe(self, *, default: bool) -> Model:
        """Describe it as the management API does."""
        return Model(
            self.name,
            self.version,
            default,
            self.pool.least,
            self.pool.most,
            self._serving.batch_size,
            self._serving.max_batch_delay,
            tuple(worker.description for worker in self.pool.workers),
            self._serving.file,
            self._serving.response_timeout,
            len(self._dispatcher.queue),
            self._dispatcher.queue.room,
            self.loaded_at_startup,
        )

    def _happened(self, kind: EventKind, detail: str) -> None:
        self._tell(Event(kind, self.name, self.version, detail))

    def _refusal(self, reason: str) -> GatewayError:
        return no_worker_up(self.name, self.version, reason)
