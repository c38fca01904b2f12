"""Keep a server up: what its front end served when it died, it serves again.

The kit's own process outlives TorchServe's. It looks at what is served, and records it, so that
nothing is lost that was told to the management API past the kit.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field, replace

from marsmith.archive import Archive
from marsmith.client import Client
from marsmith.contents import source_names
from marsmith.deployments import (
    observed,
    path_of,
    read_record,
    recording_within,
    snapshot,
    write_record,
)
from marsmith.errors import ClientError, MarsmithError, ServerError
from marsmith.placing import PlacedArchive
from marsmith.processes import identity
from marsmith.project import Project
from marsmith.readiness import Start
from marsmith.reviving import Reviver
from marsmith.server import TorchServe
from marsmith.server_state import ServerState, write_state
from marsmith.stop_signals import Stop

_PAUSE = 0.1  # seconds between two looks at the front end
_LOOK = 2.0  # seconds between two looks at what is served
ATTEMPTS = 5  # restarts within a minute; one more is no remedy
_WINDOW = 60.0  # seconds
_FIRST_PAUSE = 0.5  # seconds before the second restart, doubled with each


@dataclass
class _StopOrChange:
    """Asked to stop waiting as soon as something else is to be served than at the beginning."""

    project: Project
    port: int
    stop: Stop

    def __post_init__(self) -> None:
        self.record = read_record(self.project, self.port)

    @property
    def requested(self) -> bool:
        """Whether the user wants to stop, or another record was written."""
        return self.stop.requested or read_record(self.project, self.port) != self.record


@dataclass
class Supervisor:
    """Watches one server that is ready."""

    project: Project
    server: TorchServe
    client: Client
    stop: Stop
    timeout: float  # seconds for the models to load and answer
    state: ServerState
    _restarts: deque[float] = field(default_factory=deque, init=False)

    def __post_init__(self) -> None:
        self._reviver = Reviver(self.client)

    def watch(self) -> ServerState:
        """Return when the user wants to stop. Raises ServerError if it cannot be kept up."""
        looked = time.monotonic()
        while not self.stop.requested:
            if not self.server.is_running():
                self._bring_back()
            elif time.monotonic() - looked > _LOOK:
                self.look()
                looked = time.monotonic()
            time.sleep(_PAUSE)
        self.look()
        return self.state

    def look(self) -> None:
        """Record what is served, unless somebody is changing it."""
        with recording_within(self.project, self.state.port) as alone:
            if not alone:
                return
            try:
                before = read_record(self.project, self.state.port)
                described = self.client.models()
                now = observed(before, described)
                if now and set(now) != set(before):
                    write_record(self.project, self.state.port, now)
                models = sorted({one.name for one in now})
                self._reviver.look(described)
            except (ClientError, ServerError, OSError):
                return  # it is ending, or the disk is full: the next look tells
        if models and models != sorted(self.state.models):
            self.state = replace(self.state, models=models)
            write_state(self.project, self.state)

    def _bring_back(self) -> None:
        """Start what died again. Raises ServerError after too many times."""
        self._write(ready=False)
        while not self.stop.requested:
            self._pause()
            try:
                record = read_record(self.project, self.state.port)
                self.server.restart({"model_snapshot": snapshot(record)})
                self._write(restarts=self.state.restarts + 1, front_end=identity(self.server.pid))
                self._wait()
            except MarsmithError as error:
                self._require_worth_trying(error)
            else:
                if not self.stop.requested:
                    self._write(ready=True)
                return

    def _wait(self) -> None:
        """Return when all that is recorded is loaded and proven; a deployment may go back on it."""
        deadline = time.monotonic() + self.timeout
        sources = source_names(self.project)
        while True:
            change = _StopOrChange(self.project, self.state.port, self.stop)
            archives: list[Archive] = [
                PlacedArchive(path_of(self.project, one), one.name)
                for one in change.record
                if one.min_workers
            ]
            try:
                Start(self.server, self.client, archives, deadline, change, sources).wait()
            except MarsmithError:
                if not change.requested:
                    raise
            if self.stop.requested or not change.requested:
                return

    def _pause(self) -> None:
        now = time.monotonic()
        while self._restarts and now - self._restarts[0] > _WINDOW:
            self._restarts.popleft()
        self._require_worth_trying(None)
        end = now + (_FIRST_PAUSE * 2 ** (len(self._restarts) - 1) if self._restarts else 0.0)
        while time.monotonic() < end and not self.stop.requested:
            time.sleep(_PAUSE)
        self._restarts.append(time.monotonic())

    def _require_worth_trying(self, error: MarsmithError | None) -> None:
        if len(self._restarts) < ATTEMPTS:
            return
        why = f"; the last time: {error.message}" if error else ""
        raise ServerError(
            f"TorchServe ended by itself, {ATTEMPTS} times within a minute{why}",
            error.hint if error else f"its logs say why: {self.server.log_folder}",
        )

    def _write(self, **changed: object) -> None:
        self.state = replace(self.state, **changed)  # type: ignore[arg-type]
        write_state(self.project, self.state)
