"""Take workers from a version that is asked all the time, without losing a request.

TorchServe ends a worker whatever it is at (WorkLoadManager.modelChanged): what is in its hands
goes back into the queue, or is refused with 500, which clients ask again. But a request that its
thread is just taking from the queue (WorkerThread.shutdown while in BatchAggregator.pollBatch) is
in neither place, and is never answered. So the processes are stopped first (SIGSTOP): each thread
soon waits for its worker with a batch in its hands, and takes nothing more from the queue.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from marsmith.client import Model
from marsmith.draining import busy_workers, threads
from marsmith.errors import RolloutError
from marsmith.running import RunningServer

_PATIENCE = 1.0  # seconds; a worker that is asked for nothing by then is not asked for much
_PAUSE = 0.1


@contextmanager
def holding(server: RunningServer, front_end: int, model: Model, left: int) -> Iterator[None]:
    """Hold the workers that TorchServe ends when a version is scaled to `left` of them.

    Those that are not ended meanwhile go on. `front_end` is its pid.
    """
    held = [one for one in model.workers[left:] if one.pid > 0]  # it ends the last ones
    names = [one.id for one in held]
    try:
        for one in held:
            with suppress(OSError):  # it just died, and its thread has no request; or is not ours
                os.kill(one.pid, signal.SIGSTOP)
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            with suppress(RolloutError):
                if set(busy_workers(threads(server, front_end), names)) == set(names):
                    break
            time.sleep(_PAUSE)
        yield
    finally:
        for one in held:
            with suppress(OSError):
                os.kill(one.pid, signal.SIGCONT)
