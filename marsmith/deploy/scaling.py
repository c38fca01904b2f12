"""Give a model more workers or fewer under load, without losing a request.

TorchServe ends workers whatever they do (WorkLoadManager.modelChanged). So those that it will end
are kept from requests first: they park (parking.py). Workers that cannot, since they were not
forked by `marsmith serve`, are stopped (SIGSTOP). Their threads then soon wait with one batch,
which goes back into the queue or gets a 500; only clients that retry do not notice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from marsmith.client import Client, Model, Worker
from marsmith.core.errors import ClientError, RefusedError, RolloutError
from marsmith.core.interrupts import StopRequest
from marsmith.deploy.change import settle
from marsmith.deploy.draining import busy_workers, threads
from marsmith.deploy.options import ChangeOptions
from marsmith.deploy.parking import can_park, parked
from marsmith.deploy.scaler import FAILED, Scaler
from marsmith.deploy.session import Session, open_session
from marsmith.deploy.transaction import Tell, Transaction
from marsmith.project.project import Project
from marsmith.server.held_workers import held
from marsmith.server.lookup import connect
from marsmith.server.state import running_servers
from marsmith.server.version_record import observed

_PATIENCE = 1.0  # seconds; a stopped worker without a request by then gets few
_LEAST_PATIENCE = 10.0  # seconds for a worker to park
_PAUSE = 0.1
_TRIES = 5


def scale(
    project: Project,
    port: int | None,
    name: str,
    bounds: tuple[int, int],
    tell: Tell = lambda _: None,
) -> Model:
    """Set how many workers a model has; return it once they are up.

    Raises RolloutError while another change to the project's server is under way, and if they do
    not come up; then the model has again as many as before.
    """
    ours = [state for state in running_servers(project) if port in (None, state.port)]
    if not ours:
        with connect(project, port) as client:
            return client.scale(name, *bounds)
    with open_session(project, ChangeOptions(port)) as session:
        settle(session, Scaler(session, Transaction(StopRequest(), tell)), tell)
        with connect(project, port) as client:
            now = next(one for one in client.describe(name) if one.default)
            if bounds[1] < len(now.workers) and not session.state.drains_itself:
                scaled = _scale_down(session, client, now, bounds)
            else:
                scaled = _scale_up(client, now, bounds)
            # A front end that dies now comes back with these workers. Without room on the disk,
            # `marsmith serve` records it later.
            with suppress(RolloutError):
                session.write(observed(session.record, client.models()))
        return scaled


def _scale_up(client: Client, now: Model, bounds: tuple[int, int]) -> Model:
    try:
        return client.scale(now.name, *bounds)
    except RefusedError as error:
        if error.status != FAILED:
            raise
        with suppress(ClientError):
            client.scale(now.name, now.min_workers, now.max_workers, 0.0)
        raise RolloutError(
            error.message, f"see its log: marsmith logs {now.name}", code="workers-failed"
        ) from error


def _scale_down(session: Session, client: Client, now: Model, bounds: tuple[int, int]) -> Model:
    state = session.state
    if bounds[0] == 0 and len(now.workers) > 1:
        # For 0, TorchServe forgets all workers first, and those after one that fails live on.
        now = _scale_down(session, client, now, (1, max(bounds[1], 1)))
    ended = now.workers[bounds[1] :]  # it ends the last ones
    others = [one for one in ended if not can_park(one.pid)]
    with ExitStack() as stack:
        # One that is left answers the requests that park the others.
        if now.plain_batches and bounds[1] > 0 and not others:
            pids = {one.pid for one in ended}
            patience = max(_LEAST_PATIENCE, now.response_timeout)
            folder = Path(state.folder)
            stack.enter_context(parked(folder, client, now, pids, patience))
        else:
            stack.enter_context(_stopped(session, ended))
        return _ending(client, now.name, bounds)


def _ending(client: Client, name: str, bounds: tuple[int, int]) -> Model:
    """Scale down. TorchServe fails at a worker whose thread ends at that moment, but it has ended
    that one (BatchAggregator.sendError), and must be told again to end the others.
    """
    for _ in range(_TRIES - 1):
        try:
            return client.scale(name, *bounds)
        except RefusedError as error:
            if error.status != FAILED:
                raise
        time.sleep(_PAUSE)
    return client.scale(name, *bounds)


@contextmanager
def _stopped(session: Session, ended: tuple[Worker, ...]) -> Iterator[None]:
    """Stop these workers; those that TorchServe did not end continue afterwards."""
    workers = [one for one in ended if one.pid > 0]
    names = [one.id for one in workers]
    front_end = session.state.front_end[0]
    with held(Path(session.state.folder), [one.pid for one in workers]):
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            with suppress(RolloutError):
                if set(busy_workers(threads(session.server, front_end), names)) == set(names):
                    break
            time.sleep(_PAUSE)
        yield
