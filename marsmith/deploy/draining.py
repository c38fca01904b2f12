"""Wait until a version answers nobody any more, so that ending its workers loses no request.

TorchServe ends workers at once, whatever they are at: requests in their hands get a 500, queued
ones as well (WorkerThread.java, shutdown). The management API tells how many are queued, and
nothing tells of those in a worker's hands but the front end's threads: one that waits for its
worker's answer is not in `Model.pollBatch`. Java prints them when it gets SIGQUIT.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from marsmith.client import Client, Model
from marsmith.core.errors import RolloutError
from marsmith.server.attached import RunningServer
from marsmith.server.process import JAVA_LOG

_PAUSE = 0.1  # seconds between two looks at first; each of them is 30 KB in Java's log
_LONGEST_PAUSE = 2.0
_MARGIN = 0.1  # seconds beyond the batch delay in which a request gets from the queue to a worker
_DUMP = 2.0  # seconds for Java to print its threads: it needs some milliseconds
_END = "JNI global refs"  # the last line that it prints
_WAITS = "org.pytorch.serve.wlm.Model.pollBatch("
_RUNS = re.compile(r"org\.pytorch\.serve\.wlm\.(Async)?WorkerThread\.run\(")
_SEVERAL_AT_ONCE = "AsyncWorkerThread"  # its requests are in nobody's stack


def drain(
    server: RunningServer,
    front_end: int,
    client: Client,
    model: Model,
    patience: float,
    require_going: Callable[[], None] = lambda: None,
) -> bool:
    """Return once a version has neither queued nor begun requests; False: it still has.

    `front_end` is the pid of the front end, `patience` is in seconds. Requests that name the
    version may still come: this says of a moment that there were none. Two looks that lie a batch
    delay apart must agree, since a worker that waits for more requests of its batch has some.
    Raises ClientError if the server does not answer, and what `require_going` does.
    """
    end = time.monotonic() + patience
    quiet_since: float | None = None
    pause = _PAUSE
    while True:
        require_going()
        now = time.monotonic()
        if _is_quiet(server, front_end, client, model):
            quiet_since = now if quiet_since is None else quiet_since
            if now - quiet_since > model.max_batch_delay / 1000 + _MARGIN:
                return True
            pause = _PAUSE
        else:
            quiet_since = None
            pause = min(1.5 * pause, _LONGEST_PAUSE)
        if now > end:
            return False
        time.sleep(pause)


def _is_quiet(server: RunningServer, front_end: int, client: Client, model: Model) -> bool:
    (described,) = client.describe(model.name, model.version)
    if described.pending_requests:
        return False
    dump = threads(server, front_end)
    # One that still loads, or has died, has no request; it may do so for minutes.
    ready = [worker.id for worker in described.workers if worker.state == "READY"]
    return not busy_workers(dump, ready)


def threads(server: RunningServer, front_end: int) -> str:
    """Return what Java prints of all its threads. Raises RolloutError if it does not."""
    before = len(server.log(JAVA_LOG))
    try:
        os.kill(front_end, signal.SIGQUIT)
    except OSError as error:
        raise RolloutError(
            f"the front end (pid {front_end}) cannot be asked what it is at: {error.strerror}",
            "deploy on the machine, and as the user, that the server runs on",
        ) from error
    end = time.monotonic() + _DUMP
    while time.monotonic() < end:
        with suppress(ValueError):
            dump = server.log(JAVA_LOG)[before:]
            if dump[dump.index(_END) :]:
                return dump
        time.sleep(_PAUSE / 10)
    raise RolloutError(
        "the front end does not say what it is at",
        "leave -Xrs out of vmargs in config.properties; its log: java.log",
    )


def busy_workers(dump: str, workers: Iterable[str]) -> list[str]:
    """Return which of these workers, by their ids, have a request in their hands."""
    stacks = {
        match[1]: stack
        for stack in dump.split("\n\n")
        # Threads of its pool keep the name of the worker that they were for.
        if (match := re.match(r'\s*"W-(\d+)-', stack)) and _RUNS.search(stack)
    }
    return [
        worker
        for worker in workers
        if worker in stacks and (_WAITS not in stacks[worker] or _SEVERAL_AT_ONCE in stacks[worker])
    ]
