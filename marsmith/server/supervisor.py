"""Keep a server up: a front end that died is restarted with what it served before.

Marsmith's process outlives TorchServe's. It records what is served, also what others changed
through the management API, so that a restart loses nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from marsmith.archive.reader import Archive
from marsmith.client import Client, Model
from marsmith.core.errors import ArchiveError, ClientError, MarsmithError, ServerError
from marsmith.core.interrupts import Stop
from marsmith.core.processes import identity
from marsmith.project.entries import source_names
from marsmith.project.project import Project
from marsmith.server.front_process import FrontProcess
from marsmith.server.held_workers import continue_held
from marsmith.server.pinned_archives import offer_built, pinned
from marsmith.server.readiness import Start
from marsmith.server.state import ServerState, write_state
from marsmith.server.version_record import (
    Record,
    Version,
    observed,
    read_record,
    recording_within,
    snapshot,
    write_record,
)
from marsmith.server.worker_reviver import Reviver

_PAUSE = 0.1  # seconds between two looks at the front end
_LOOK = 2.0  # seconds between two looks at what is served
_RENEWAL = 3600.0  # seconds between two renewals of the times of files; cleaners count in days
ATTEMPTS = 5  # restarts within a minute; one more would not help
_WINDOW = 60.0  # seconds
# What a restart that brought the front end back may fail with. Another restart would bring the same
# archives to the same answers, and take the other models from their callers.
_OF_A_MODEL = {"model-not-loaded", "wrong-answer", "requirement-not-installed"}
_FIRST_PAUSE = 0.5  # seconds before the second restart, doubled with each


class AlteredError(ServerError):
    """An archive is not the one that was served; trying again would not help."""


@dataclass
class _StopOrChange:
    """Stops waiting once the record of served versions has changed."""

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
    server: FrontProcess
    client: Client
    stop: Stop
    timeout: float  # seconds for the models to load and answer
    state: ServerState
    _restarts: deque[float] = field(default_factory=deque, init=False)
    _workers: dict[tuple[str, str, str], int] = field(default_factory=dict, init=False)
    _written: bool = field(default=True, init=False)  # whether the state is recorded
    _offered: int = field(default=0, init=False)  # when the model store last changed

    def __post_init__(self) -> None:
        self._reviver = Reviver(self.client)
        self.server.missing()  # what is there now must stay

    def watch(self) -> ServerState:
        """Return when the user wants to stop. Raises ServerError if it cannot be kept up."""
        looked = renewed = time.monotonic()
        while not self.stop.requested:
            if not self.server.is_running():
                self._bring_back()
            self.server.revive_fork_server()
            self._offer()
            if time.monotonic() - looked > _LOOK:
                self._require_folder()
                self.look()
                looked = time.monotonic()
            if time.monotonic() - renewed > _RENEWAL:
                self.server.own_folder.renew_times()
                renewed = time.monotonic()
            time.sleep(_PAUSE)
        self.look()
        return self.state

    def _offer(self) -> None:
        """Let the management API load what was built meanwhile, unless all must be signed."""
        if self.state.public_key is None:
            with suppress(OSError):  # no model store, or a disk that is full
                changed = self.project.model_store.stat().st_mtime_ns
                if changed != self._offered:
                    offer_built(self.project, self.state.port)
                    self._offered = changed

    def _require_folder(self) -> None:
        """End a front end whose folder was removed: no worker could start, nobody could ask it."""
        if missing := self.server.missing():
            self.server.note(
                f"{missing} was removed, so TorchServe is restarted; was it a cleaner?"
            )
            self.server.end()

    def look(self) -> None:
        """Record what is served, unless a change is under way."""
        # A full or read-only disk does not stop the server; the next look tries again.
        with suppress(OSError):
            self._look()
        if not self._written:
            self._write()

    def _look(self) -> None:
        with recording_within(self.project, self.state.port) as alone:
            if not alone:
                return
            continue_held(self.server.folder)
            try:
                before = read_record(self.project, self.state.port)
                described = self.client.models()
                now = observed(before, described)
                if now and set(now) != set(before):
                    write_record(self.project, self.state.port, now)
                models = sorted({one.name for one in now})
                self._note_ended(described)
                if self.state.kind == "torchserve":  # a gateway starts its workers itself
                    self._reviver.look(described)
            except (ClientError, ServerError):
                return  # it is ending; the next look shows that
        if models and models != sorted(self.state.models):
            self._write(models=models)

    def _note_ended(self, described: Iterable[Model]) -> None:
        """Log which workers were replaced by another process."""
        now = {(m.name, m.version, w.id): w.pid for m in described for w in m.workers}
        for key, pid in self._workers.items():
            if pid > 0 and now.get(key, pid) != pid:
                name, version, worker = key
                words = f"worker {worker} of {name} {version} (pid {pid}) ended"
                self.server.note(f"{words}; TorchServe starts it again")
        self._workers = now

    def _bring_back(self) -> None:
        """Restart the front end. Raises ServerError after too many restarts."""
        self._workers = {}
        self.server.note(f"the front end ended {self.server.ending}; it is restarted")
        self._write(ready=False)
        while not self.stop.requested:
            self._pause()
            try:
                record = self._intact_record()
                self.server.restart({"model_snapshot": snapshot(record)})
                self._write(restarts=self.state.restarts + 1, front_end=identity(self.server.pid))
                self._wait()
            except AlteredError:
                raise
            except (MarsmithError, OSError) as error:
                self.server.note(f"what it served does not answer: {error}")
                if not self._serves_others(error):
                    self._require_worth_trying(error)
                    continue
            self.server.missing()
            if not self.stop.requested:
                self._write(ready=True)
                self.server.note("the front end is back, and serves what it served before")
            return

    def _serves_others(self, error: MarsmithError | OSError) -> bool:
        """Whether the front end is up, and the error is of one model alone."""
        of_a_model = isinstance(error, MarsmithError) and error.code in _OF_A_MODEL
        return of_a_model and self.server.is_running() and self.server.listens()

    def _intact_record(self) -> Record:
        """Return what must be served again. Raises AlteredError if the bytes of it are others now.

        Where signatures are required, what was registered past Marsmith is not brought back: it
        was never verified.
        """
        record = read_record(self.project, self.state.port)
        for one in set(record) - set(self._allowed(record)):
            self.server.note(f"{one.name} {one.version} was never verified: it is not brought back")
        record = self._allowed(record)
        for one in record:
            self._require_intact(one)
        return record

    def _allowed(self, record: Record) -> Record:
        """Return what may be served; each model keeps a default version."""
        if self.state.public_key is None:
            return record
        signed = tuple(one for one in record if one.signed_by and one.sha256)
        latest = {one.name: one for one in sorted(signed, key=lambda one: one.default_since)}
        chosen = {one.name: one for one in signed if one.default}
        return tuple(replace(one, default=one is (latest | chosen)[one.name]) for one in signed)

    def _require_intact(self, version: Version) -> None:
        try:
            pinned(self.project, self.state.port, version)
        except ArchiveError as error:
            raise AlteredError(error.message, error.hint, code=error.code) from error

    def _wait(self) -> None:
        """Return when all that is recorded answers; an undone deployment may change the record."""
        deadline = time.monotonic() + self.timeout
        sources = source_names(self.project)
        while True:
            change = _StopOrChange(self.project, self.state.port, self.stop)
            archives: list[Archive] = [
                pinned(self.project, self.state.port, one)
                for one in self._allowed(change.record)
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

    def _require_worth_trying(self, error: MarsmithError | OSError | None) -> None:
        if len(self._restarts) < ATTEMPTS:
            return
        hint = f"see its logs: {self.server.log_folder}"
        hint = error.hint if isinstance(error, MarsmithError) else hint
        why = f"; the last time: {error}" if error else ""
        raise ServerError(
            f"{self.server.what} ended by itself, {ATTEMPTS} times within a minute{why}",
            hint,
            code="keeps-ending",
        )

    def _write(self, **changed: object) -> None:
        """Record the server's state; later if the disk cannot be written now."""
        self.state = replace(self.state, **changed)  # type: ignore[arg-type]
        try:
            write_state(self.project, self.state)
            self._written = True
        except OSError:
            self._written = False
