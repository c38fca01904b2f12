"""Give a model more workers or fewer under load, without losing a request.

TorchServe ends a worker in the middle of a request (WorkLoadManager.modelChanged): the request
goes back into the queue, or gets a 500, which clients retry. But a request that the worker's
thread is just taking from the queue (WorkerThread.shutdown while in BatchAggregator.pollBatch) is
lost: it is never answered. So the processes are paused first (SIGSTOP). Each thread then soon
waits for its worker with one batch, and takes nothing more from the queue.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from marsmith.client import Model
from marsmith.core.errors import ClientError, RefusedError, RolloutError
from marsmith.deploy.draining import busy_workers, threads
from marsmith.deploy.scaler import FAILED
from marsmith.deploy.session import exclusive
from marsmith.project.project import Project
from marsmith.server.attached import RunningServer
from marsmith.server.lookup import connect
from marsmith.server.state import running_servers, server_folder

_PATIENCE = 1.0  # seconds; a worker without a request by then gets few
_PAUSE = 0.1


def scale(project: Project, port: int | None, name: str, bounds: tuple[int, int]) -> Model:
    """Set how many workers a model has; return it once they are up.

    Raises RolloutError while another change to the project's server is under way, and if they do
    not come up; then the model has again as many as before.
    """
    ours = [state for state in running_servers(project) if port in (None, state.port)]
    with connect(project, port) as client, ExitStack() as stack:
        if not ours:
            return client.scale(name, *bounds)
        stack.enter_context(exclusive(project, ours[0].port))
        now = next(one for one in client.describe(name) if one.default)
        if bounds[1] < len(now.workers):
            server = RunningServer(ours[0], server_folder(project, ours[0].port))
            stack.enter_context(_holding(server, ours[0].front_end[0], now, bounds[1]))
        try:
            return client.scale(name, *bounds)
        except RefusedError as error:
            if error.status == FAILED:
                with suppress(ClientError):
                    client.scale(name, now.min_workers, now.max_workers, 0.0)
                raise RolloutError(
                    error.message, f"see its log: marsmith logs {name}", code="workers-failed"
                ) from error
            raise


@contextmanager
def _holding(server: RunningServer, front_end: int, model: Model, left: int) -> Iterator[None]:
    """Pause the workers that TorchServe ends when a version is scaled to `left` of them.

    Those that it did not end continue afterwards. `front_end` is its pid.
    """
    held = [one for one in model.workers[left:] if one.pid > 0]  # it ends the last ones
    names = [one.id for one in held]
    try:
        for one in held:
            with suppress(OSError):  # it just died without a request, or is another user's
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
