"""Takes messages from the queue while the gateway runs, and keeps them while they are worked on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from marsmith.core.errors import MarsmithError
from marsmith.gateway.jobs.jobs import Jobs
from marsmith.gateway.jobs.work import SENDERS, NotNow, Work, pause_after
from marsmith.gateway.jobs.work_queue import Message, Task
from marsmith.gateway.observe.metrics import Metrics

_LOOK = 0.5  # seconds between two looks at the queue, where nothing wakes us
_SWEEP = 60.0  # seconds between two looks for what has expired, at most
_log = logging.getLogger(__name__)


class Runner:
    """Of one gateway; others may share its storage and its queue."""

    def __init__(self, jobs: Jobs, work: Work, metrics: Metrics) -> None:
        """Do nothing yet."""
        self._jobs = jobs
        self._metrics = metrics
        self._slots: dict[Task, int] = {"run": jobs.settings.concurrent, "tell": SENDERS}
        self._do = {"run": work.run, "tell": work.tell}
        self._open: dict[Message, asyncio.Task[None]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self.stopping = False

    def start(self) -> None:
        """Begin."""
        settings = self._jobs.settings
        pauses = {self._renew: settings.lease / 3, self._sweep: min(_SWEEP, settings.ttl / 2)}
        self._loops = [asyncio.ensure_future(self._repeat(*one)) for one in pauses.items()]
        self._loops.append(asyncio.ensure_future(self._repeat(self._receive, _LOOK)))

    async def stop(self) -> None:
        """Give back what is under way, so that it can be begun again at once."""
        self.stopping = True
        tasks = [*self._loops, *self._open.values()]
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self) -> None:
        """Look at the queue at once."""
        self._wake.set()

    def cancel(self, folder: str) -> None:
        """End the work on a cancelled job; other gateways notice within a third of a lease."""
        for message, task in self._open.items():
            if (message.folder, message.task) == (folder, "run"):
                task.cancel()

    async def _repeat(self, step: Callable[[], Awaitable[None]], pause: float) -> None:
        wake = self._wake if step == self._receive else asyncio.Event()
        while True:
            wake.clear()
            try:
                await step()
            except MarsmithError as error:
                _log.warning("jobs: %s", error.message)
            except Exception:
                _log.exception("jobs")
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(wake.wait(), pause)

    async def _receive(self) -> None:
        for task, slots in self._slots.items():
            if (free := slots - self._count(task)) > 0:
                for message in await asyncio.to_thread(self._jobs.queue.receive, task, free):
                    begun = self._open[message] = asyncio.ensure_future(self._handle(message))
                    begun.add_done_callback(partial(self._closed, message))
        self._metrics.jobs("running", self._count("run"))

    def _closed(self, message: Message, _: object) -> None:
        del self._open[message]
        self._metrics.jobs("running", self._count("run"))
        self.wake()

    def _count(self, task: Task) -> int:
        return sum(one.task == task for one in self._open)

    async def _handle(self, message: Message) -> None:
        queue = self._jobs.queue
        try:
            delay = await self._do[message.task](message)
        except NotNow as limit:
            with suppress(MarsmithError):
                await asyncio.to_thread(queue.put_off, message, limit.seconds)
            return
        except asyncio.CancelledError:
            delay = 0.0
        except Exception:
            _log.exception("job %s", message.folder)
            delay = pause_after(message.tries)
        with suppress(MarsmithError):  # then its lease ends, and it comes again
            if delay is None:
                await asyncio.to_thread(queue.done, message)
            else:
                await asyncio.to_thread(queue.release, message, delay)

    async def _renew(self) -> None:
        """Keep what is under way, and end what was cancelled elsewhere."""
        jobs, open_ = self._jobs, [*self._open]
        if open_:
            await asyncio.to_thread(jobs.queue.extend, open_)
        for message in open_:
            if await asyncio.to_thread(jobs.is_cancelled, message.folder):
                self.cancel(message.folder)
        self._metrics.jobs("queued", await asyncio.to_thread(jobs.queue.waiting))

    async def _sweep(self) -> None:
        await asyncio.to_thread(self._jobs.store.sweep, time.time() - self._jobs.settings.ttl)
