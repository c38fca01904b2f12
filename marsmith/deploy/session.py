"""A running server while it is changed: its client, and the record of what it serves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from marsmith.client import ONCE, Client, Model, Retries
from marsmith.core.errors import ClientError, MarsmithError, RolloutError
from marsmith.deploy.options import ChangeOptions
from marsmith.project.project import Project
from marsmith.server.attached import RunningServer
from marsmith.server.lookup import client_of, find_server
from marsmith.server.state import ServerState, running_servers, server_folder
from marsmith.server.version_record import (
    Record,
    Version,
    observed,
    read_record,
    recording_within,
    write_record,
)

# For undoing while the front end is being started again: about a minute.
_PATIENT = Retries(attempts=60, first=0.2, longest=2.0)
_SUPERVISOR_LOOK = 6.0  # seconds that `marsmith serve` may need to record what is served
_PAUSE = 0.05
_RETURN = 60.0  # seconds for a front end that died to be back


@dataclass
class Session:
    """One server: how to reach it, and what it serves."""

    project: Project
    state: ServerState
    client: Client
    server: RunningServer
    timeout: float  # seconds for a model to load and answer
    record: Record  # as it was written last
    _clients: ExitStack = field(default_factory=ExitStack)

    def described(self, version: Version) -> Model:
        """Describe one version, as the management API has it."""
        (model,) = self.client.describe(version.name, version.version)
        return model

    def observe(self) -> Record:
        """Return the record as the server is now."""
        return observed(self.record, self.client.models())

    def serves(self, version: Version) -> bool:
        """Whether a version is registered."""
        key = version.name, version.version
        return any((one.name, one.version) == key for one in self.observe())

    def write(self, record: Record) -> None:
        """Record what the server must serve from now on."""
        try:
            write_record(self.project, self.state.port, record)
        except OSError as error:
            raise RolloutError(
                f"what is served cannot be recorded: {error.strerror}",
                f"make room, or make .marsmith/servers/{self.state.port} writable",
                code="record-not-written",
            ) from error
        self.record = record

    def reconnect(self) -> bool:
        """Wait for a front end that may just be started again; say whether the server runs.

        The client retries for a minute from then on, or not at all if the server has ended.
        """
        runs = self._runs_again()
        client = client_of(self.state, 60.0, _PATIENT if runs else ONCE)
        self.client = self._clients.enter_context(client)
        return runs

    def _runs_again(self) -> bool:
        end = time.monotonic() + _RETURN
        while time.monotonic() < end:
            try:
                self.state = find_server(self.project, self.state.port)
            except MarsmithError:
                return False  # it was stopped
            self.server = RunningServer(self.state, self.server.log_folder)
            with suppress(ClientError), client_of(self.state, _SUPERVISOR_LOOK, ONCE) as client:
                client.models()
                return True
            time.sleep(_PAUSE)
        return False

    def difference(self, before: Record) -> str:
        """Say whether the server serves what it served before, or what differs."""
        try:
            now = _outline(observed(before, self.client.models()))
        except ClientError as error:
            return f"whether that is still served is unknown: {error.message}"
        was = _outline(before)
        if now == was:
            return "the server serves what it served before"
        changed = ", ".join(sorted({f"{name} {version}" for name, version, *_ in now ^ was}))
        return f"{changed} differs from before: see marsmith versions"

    def close(self) -> None:
        """Close the connections."""
        self._clients.close()


def _outline(record: Record) -> set[tuple[str, str, bool, int, int]]:
    return {(v.name, v.version, v.default, v.min_workers, v.max_workers) for v in record}


@contextmanager
def exclusive(project: Project, port: int) -> Iterator[None]:
    """Lock a server against other changes. Raises RolloutError while one is under way."""
    with recording_within(project, port, _SUPERVISOR_LOOK) as alone:
        if not alone:
            raise RolloutError(
                f"another change to the server on port {port} is under way",
                "wait until it is done, and try again",
                code="change-under-way",
            )
        yield


@contextmanager
def open_session(project: Project, options: ChangeOptions) -> Iterator[Session]:
    """Connect to the project's server, and lock it against other changes.

    Raises ServerError if no server runs, RolloutError if it is not ready or another change is
    under way.
    """
    state = find_server(project, options.port)
    if not state.ready:
        raise RolloutError(
            f"the server on port {state.port} is not ready",
            "wait until marsmith status says ready",
            code="server-not-ready",
        )
    if state.in_front:
        behind = [one.port for one in running_servers(project) if one.kind == "torchserve"]
        place = f"--port {behind[0]}" if len(behind) == 1 else "--port N, with TorchServe's port"
        raise RolloutError(
            f"the gateway on port {state.port} stands in front of TorchServe, and has no models",
            f"change what TorchServe serves: the same command with {place}",
            code="in-front",
        )
    with exclusive(project, state.port), client_of(state, options.timeout, ONCE) as client:
        server = RunningServer(state, server_folder(project, state.port))
        record = read_record(project, state.port)
        session = Session(project, state, client, server, options.timeout, record)
        session.record = session.observe()
        try:
            yield session
        finally:
            session.close()
