"""Keeps the wanted number of a version's workers: starts, restarts and ends them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial

from marsmith.core.errors import MarsmithError
from marsmith.gateway.backend import EventKind
from marsmith.gateway.keeping import Kept
from marsmith.gateway.local.dispatcher import Dispatcher
from marsmith.gateway.local.scaling import IDLE, OLD, PRESSED, fewer, more, too_old
from marsmith.gateway.local.starting import Starter
from marsmith.gateway.local.worker import LocalWorker
from marsmith.gateway.refusals import GatewayError

Bring = Callable[[], Awaitable[LocalWorker]]
# Seconds before the third try in a row; each further one waits twice as long.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0  # of a model that cannot be loaded: its requests are refused
_LONGEST_AFTER_DEATH = 4.0  # of workers that load, and die: requests wait meanwhile
_LOOK = 0.01  # seconds between two looks for the end of open requests


class WorkerPool:
    """The workers of a version, loading ones included."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        starter: Starter,
        least: int,
        most: int,
        batch_size: int,
        tell: Callable[[EventKind, str], None],
        refusal: Callable[[str], GatewayError],
    ) -> None:
        """`refusal` makes the error of requests that no worker will answer, from the reason."""
        self.least, self.most = least, most
        dispatcher.sends_ahead = most == 1
        self.problem: MarsmithError | None = None  # why the last try to start one failed
        self._dispatcher = dispatcher
        self._starter = starter
        self._batch_size = batch_size
        self._tell = tell
        self._refusal = refusal
        self._wanted = 0
        self._starting: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._workers: set[LocalWorker] = set()
        self._failed = 0  # workers in a row that did not load, or died before their first answer
        self._was_up = False  # whether any worker has loaded the model
        self._changed = asyncio.Event()
        self._looks: dict[str, asyncio.TimerHandle] = {}
        self._closed = False
        dispatcher.on_lost = self._lost
        dispatcher.on_idle = self._end
        dispatcher.on_waiting = self._waiting

    @property
    def workers(self) -> list[LocalWorker]:
        """The workers that are up, or end after their last batch."""
        return sorted(self._workers, key=lambda worker: worker.number)

    @property
    def ready(self) -> int:
        """How many take requests."""
        return len(self._dispatcher.workers)

    def start(self, kept: Sequence[Kept] = ()) -> None:
        """Take back the workers that are kept, and start others up to the least number."""
        for one in kept:
            self._begin(0.0, partial(self._starter.resume, one))
        self._want(min(max(self.least, len(kept)), self.most))

    def set_bounds(self, least: int, most: int) -> None:
        """Change the least and the largest number of workers."""
        self.least, self.most = least, most
        self._dispatcher.sends_ahead = most == 1
        self._failed, self.problem = 0, None
        self._want(min(max(self._wanted, least), most))
        self._fail_hopeless()

    def _want(self, number: int) -> None:
        self._wanted = number
        for _ in range(number - self.ready - len(self._starting)):
            self._begin()
        staying = [one for one in self._dispatcher.workers if not one.retiring]
        staying.sort(key=lambda one: (one.is_busy, one.idle_since))
        needed = max(number, bool(self._dispatcher.queue))  # requests that wait are answered first
        for worker in staying[: max(0, len(staying) - needed)]:
            self._dispatcher.retire(worker)
        if self.ready > number:
            self._look_later("surplus", _LOOK)
        if number > self.least:
            self._look_later("down", IDLE)

    async def settled(self) -> None:
        """Wait until as many workers as wanted are up, and no more. Raises what a start raises."""
        while len(self._workers) != self._wanted:
            if self.problem is not None:
                raise self.problem
            self._changed.clear()
            await self._changed.wait()

    async def close(self) -> None:
        """Let the requests that wait end, then end all workers."""
        while self._dispatcher.queue or any(one.is_busy for one in self._workers):
            await asyncio.sleep(_LOOK)
        self._closed = True
        for look in self._looks.values():
            look.cancel()
        for task in self._starting:
            task.cancel()
        for worker in list(self._dispatcher.workers):
            self._dispatcher.retire(worker)
        self._dispatcher.queue.fail_all(self.refusal)
        await asyncio.gather(*self._starting, *self._ending, return_exceptions=True)

    @property
    def refusal(self) -> GatewayError:
        """The error of requests that no worker will answer."""
        if self.problem is not None:
            return self._refusal(self.problem.message)
        return self._refusal("it has no workers: scale it up")

    @property
    def is_hopeless(self) -> bool:
        """Whether a new request would wait in vain."""
        return not self.most or (not self.ready and (self._closed or self.problem is not None))

    def _fail_hopeless(self) -> None:
        if self.is_hopeless and not self.ready:
            self._dispatcher.queue.fail_all(self.refusal)

    def _begin(self, pause: float = 0.0, bring: Bring | None = None) -> None:
        if not self._closed:
            task = asyncio.ensure_future(self._bring_up(pause, bring or self._starter.start))
            self._starting.add(task)
            task.add_done_callback(self._brought_up)

    async def _bring_up(self, pause: float, bring: Bring) -> None:
        await asyncio.sleep(pause)
        if self.ready >= self._wanted:
            return
        try:
            worker = await bring()
        except MarsmithError as error:
            self._failed += 1
            self._tell("worker-died", error.message)
            # One that was killed while it loaded says nothing of the model: requests wait.
            if self._failed > 1 or not self._was_up:
                self.problem = error
            self._fail_hopeless()
            self._changed.set()
            return
        self._workers.add(worker)
        self._was_up, self.problem = True, None
        self._tell("worker-up", str(worker.number))
        self._dispatcher.add(worker)
        if self.ready > self._wanted:  # fewer are wanted since
            self._dispatcher.retire(worker)
        self._changed.set()

    def _brought_up(self, task: asyncio.Task[None]) -> None:
        self._starting.discard(task)
        if not task.cancelled():
            task.result()
            self._fill(_LONGEST_PAUSE)

    def _fill(self, longest: float) -> None:
        """Start a worker in the place of one that failed or died, after a growing pause."""
        if self.ready + len(self._starting) < self._wanted:
            pause = _FIRST_PAUSE * 2.0 ** (self._failed - 2) if self._failed > 1 else 0.0
            self._begin(min(pause, longest))

    def _lost(self, worker: LocalWorker) -> None:
        self._workers.discard(worker)
        self._failed = 0 if worker.has_answered else self._failed + 1
        self._tell("worker-died", str(worker.number))
        self._ended(worker, self._starter.lost(worker))
        self._fill(_LONGEST_AFTER_DEATH)
        self._fail_hopeless()
        self._waiting()

    def _end(self, worker: LocalWorker) -> None:
        if worker in self._workers:
            self._ended(worker, self._starter.end(worker))

    def _ended(self, worker: LocalWorker, end: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(end)
        self._ending.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._ending.discard(task)
            self._workers.discard(worker)
            self._changed.set()

        task.add_done_callback(done)

    def _waiting(self) -> None:
        waiting = len(self._dispatcher.queue)
        if more(self._wanted, self.most, waiting, self._batch_size):
            self._look_later("up", PRESSED)
        if waiting and self._wanted < self.most:
            self._look_later("old", OLD)

    def _look_at_age(self) -> None:
        age = self._dispatcher.queue.age
        coming = self._dispatcher.free_workers + len(self._starting)
        if too_old(self._wanted, self.most, age, coming):
            self._want(self._wanted + 1)
        if self._dispatcher.queue and self._wanted < self.most:
            self._look_later("old", OLD - age if age < OLD else OLD)

    def _look_later(self, which: str, pause: float) -> None:
        if which not in self._looks and not self._closed:
            loop = asyncio.get_running_loop()
            self._looks[which] = loop.call_later(pause, self._look, which)

    def _look(self, which: str) -> None:
        del self._looks[which]
        if which == "old":
            self._look_at_age()
        elif which == "up":
            waiting = len(self._dispatcher.queue)
            if more(self._wanted, self.most, waiting, self._batch_size):
                self._want(self._wanted + 1)
                self._look_later("up", PRESSED)
        elif which == "surplus":
            self._want(self._wanted)
        else:
            now = time.monotonic()
            idle = [now - one.idle_since for one in self._dispatcher.workers if not one.is_busy]
            self._want(fewer(self._wanted, self.least, idle))
