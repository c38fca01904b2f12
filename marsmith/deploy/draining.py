"""Wait until no request of a version is open, so that ending its workers loses none.

TorchServe ends workers at once, even in the middle of a request: that request gets a 500, and so do
queued ones (WorkerThread.java, shutdown). The management API says how many are queued. Whether a
worker has a request, only the front end's threads show: one that waits for its worker's answer is
not in `Model.pollBatch`. Java prints its threads when it gets SIGQUIT.
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

_PAUSE = 0.1  # seconds between two looks at first; each adds 30 KB to Java's log
_LONGEST_PAUSE = 2.0
_MARGIN = 0.1  # seconds beyond the batch delay in which a request gets from the queue to a worker
_DUMP = 2.0  # seconds for Java to print its threads: it needs some milliseconds
_END = "JNI global refs"  # the last line that it prints
_WAITS = "org.pytorch.serve.wlm.Model.pollBatch("
_RUNS = re.compile(r"org\.pytorch\.serve\.wlm\.(Async)?WorkerThread\.run\(")
_SEVERAL_AT_ONCE = "AsyncWorkerThread"  # its requests show in no stack


def drain(
    server: RunningServer,
    front_end: int,
    client: Client,
    model: Model,
    patience: float,
    require_going: Callable[[], None] = lambda: None,
) -> bool:
    """Return True once a version has neither queued nor begun requests; False if it still has.

    `front_end` is the pid of the front end, `patience` is in seconds. Requests that name the
    version may still come later. Two looks a batch delay apart must agree, because a worker that
    waits for the rest of its batch already has requests. Raises ClientError if the server does not
    answer, and what `require_going` raises.
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
    # One that still loads, or has died, has no request, and may stay so for minutes.
    ready = [worker.id for worker in described.workers if worker.state == "READY"]
    return not busy_workers(dump, ready)


def threads(server: RunningServer, front_end: int) -> str:
    """Return what Java prints of all its threads. Raises RolloutError if it does not."""
    before = len(server.log(JAVA_LOG))
    try:
        os.kill(front_end, signal.SIGQUIT)
    except OSError as error:
        raise RolloutError(
            f"the front end (pid {front_end}) cannot be asked for its threads: {error.strerror}",
            "deploy on the server's machine, as the user that runs it",
            code="no-thread-dump",
        ) from error
    end = time.monotonic() + _DUMP
    while time.monotonic() < end:
        with suppress(ValueError):
            dump = server.log(JAVA_LOG)[before:]
            if dump[dump.index(_END) :]:
                return dump
        time.sleep(_PAUSE / 10)
    raise RolloutError(
        f"the front end (pid {front_end}) printed no thread dump",
        "remove -Xrs from vmargs in config.properties; its log is java.log",
        code="no-thread-dump",
    )


def busy_workers(dump: str, workers: Iterable[str]) -> list[str]:
    """Return which of these workers, by their ids, are at work on a request."""
    stacks = {
        match[1]: stack
        for stack in dump.split("\n\n")
        # Threads of its pool keep the name of their former worker.
        if (match := re.match(r'\s*"W-(\d+)-', stack)) and _RUNS.search(stack)
    }
    return [
        worker
        for worker in workers
        if worker in stacks and (_WAITS not in stacks[worker] or _SEVERAL_AT_ONCE in stacks[worker])
    ]
