"""Gathers a version's requests into batches, and gives them to free workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from marsmith.gateway.local.waiting import RequestQueue, Waiting
from marsmith.gateway.local.worker import LocalWorker
from marsmith.gateway.refusals import too_late, worker_died
from marsmith.torchserve.worker_protocol import Message, refusal

_MOST_DEATHS = 2  # of workers, of one request


class Dispatcher:
    """A version's queue, and its workers that are up."""

    def __init__(
        self,
        model: str,
        version: str,
        queue: RequestQueue,
        *,
        batch_size: int,
        delay: float,
        timeout: float,
    ) -> None:
        """`delay` is how long a batch waits at most to become full, in seconds."""
        self._model = model
        self._version = version
        self.queue = queue
        self._batch_size = batch_size
        self._delay = delay
        self._timeout = timeout
        self.workers: set[LocalWorker] = set()
        self._free: list[LocalWorker] = []
        self._look: asyncio.Handle | None = None
        self.sends_ahead = False  # whether a batch may wait at a worker, where no other can take it
        # Told what the pool must know.
        self.on_lost: Callable[[LocalWorker], None] = lambda _: None
        self.on_idle: Callable[[LocalWorker], None] = lambda _: None
        self.on_waiting: Callable[[], None] = lambda: None

    def submit(self, request: Waiting) -> None:
        """Queue a request. Raises GatewayError if too many wait already."""
        self.queue.add(request)
        if len(self.queue) >= self._batch_size:
            self._dispatch()
        elif self._free and self._look is None:
            # All requests that arrive at once share a batch.
            self._look = asyncio.get_running_loop().call_soon(self._dispatch)
        self.on_waiting()

    @property
    def free_workers(self) -> int:
        """How many have no batch."""
        return len(self._free)

    def add(self, worker: LocalWorker) -> None:
        """Give a loaded worker batches from now on."""
        self.workers.add(worker)
        worker.serve(self)

    def retire(self, worker: LocalWorker) -> None:
        """Give it no more batches; `on_idle` tells when it has none."""
        worker.retiring = True
        if worker in self._free:
            self._free.remove(worker)
        if not worker.is_busy:
            self._leave(worker)

    def free(self, worker: LocalWorker) -> None:
        """Give a worker the next batch (Office)."""
        if not worker.is_busy:
            self._leave(worker) if worker.retiring else self._free.append(worker)
        self._dispatch()

    def failed(self, batch: Sequence[Waiting], message: Message) -> None:
        """Send each request of a failed batch again, alone (Office)."""
        if len(batch) > 1:
            for request in batch:
                self.queue.again(request)
            self.on_waiting()
        for request in batch if len(batch) == 1 else ():
            request.take(refusal(message.code, message.text), 1)

    def lost(
        self,
        worker: LocalWorker,
        batch: Sequence[Waiting],
        ahead: Sequence[Waiting],
        *,
        late: bool,
    ) -> None:
        """Send what a lost worker had to another one, unless the request is to blame (Office)."""
        self.workers.discard(worker)
        if worker in self._free:
            self._free.remove(worker)
        self.queue.put_back(ahead)
        for request in batch:
            request.deaths += not late
            if late and (len(batch) == 1 or request.rest):
                request.fail(too_late(self._model, self._timeout))
            elif request.deaths == _MOST_DEATHS or request.rest:
                request.fail(worker_died(self._model, self._version))
            else:
                self.queue.again(request)
        self.on_lost(worker)
        self._dispatch()

    def _leave(self, worker: LocalWorker) -> None:
        self.workers.discard(worker)
        self.on_idle(worker)

    def _dispatch(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None
        while self._free and self.queue:
            if pause := self._pause():
                loop = asyncio.get_running_loop()
                self._look = loop.call_later(pause, self._dispatch)
                return
            if batch := self.queue.take(self._batch_size):
                self._free.pop().answer(batch)
        self._send_ahead()

    def _send_ahead(self) -> None:
        """Give the only worker a further full batch, so that it need not wait for us between two.

        Beside other workers it would keep requests from them.
        """
        if not self.sends_ahead or len(self.workers) > 1:
            return
        if self.queue.has_lone or len(self.queue) < self._batch_size:
            return
        for worker in self.workers:
            if worker.takes_ahead and not worker.retiring:
                worker.answer(self.queue.take(self._batch_size))

    def _pause(self) -> float:
        """Return for how many seconds the next batch should wait for more requests."""
        queue = self.queue
        if queue.has_lone or len(queue) >= self._batch_size or len(self._free) == len(self.workers):
            return 0.0
        return max(0.0, queue.oldest + self._delay - time.monotonic())
