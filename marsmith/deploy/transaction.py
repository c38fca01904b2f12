"""One change at a time to what a running server serves, and the way back out of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from marsmith.client import ONCE, Client, Model, Retries
from marsmith.core.errors import ClientError, MarsmithError, RefusedError, RolloutError
from marsmith.core.interrupts import StopRequest, stop_signals
from marsmith.core.processes import end_own
from marsmith.deploy.draining import drain
from marsmith.deploy.replay import replay
from marsmith.project.entries import source_names
from marsmith.project.project import Project
from marsmith.server.attached import RunningServer
from marsmith.server.lookup import client_of, find_server
from marsmith.server.pinned_archives import PlacedArchive
from marsmith.server.readiness import Start
from marsmith.server.state import ServerState, server_folder
from marsmith.server.version_record import (
    Record,
    Version,
    observed,
    path_of,
    read_record,
    recording_within,
    write_record,
)

# What must come about although the server is being brought back meanwhile: about a minute.
_PATIENT = Retries(attempts=60, first=0.2, longest=2.0)
_LONGEST_DRAIN = 300.0  # seconds; a queue may be long, and who is in it shall be answered
_LONGEST_LOOK = 6.0  # seconds that `marsmith serve` may need to see what is served
_PAUSE = 0.05
FAILED = 500  # what TorchServe answers when workers do not come up
_RETURN = 60.0  # seconds for a front end that died to be back

_Result = TypeVar("_Result")


@dataclass
class Operation:
    """A change under way: the server, who may stop it, and what is served."""

    project: Project
    state: ServerState
    client: Client
    server: RunningServer
    stop: StopRequest
    timeout: float  # seconds for a model to load and answer
    tell: Callable[[str], None]
    record: Record  # as it was written last
    now: str = field(default="start", init=False)  # the step that is under way
    _undo: list[Callable[[], object]] = field(default_factory=list, init=False)
    _goes_back: bool = field(default=False, init=False)

    def step(self, words: str) -> None:
        """Begin a step. Raises RolloutError if the user wants to stop."""
        self.require_going()
        self.now = words
        self.tell(words)

    def require_going(self) -> None:
        """Raise RolloutError if the user wants to stop; the way back is gone to its end."""
        if self.stop.requested and not self._goes_back:
            raise RolloutError("it was told to stop", "run it again when it suits")

    def on_failure(self, call: Callable[[], object]) -> None:
        """Have something done if anything goes wrong from now on; what came last, first."""
        self._undo.append(call)

    def done(self) -> None:
        """From now on nothing is undone any more."""
        self._undo.clear()

    def write(self, record: Record) -> None:
        """Record what is to be served from now on."""
        try:
            write_record(self.project, self.state.port, record)
        except OSError as error:
            raise RolloutError(
                f"what is served cannot be recorded: {error.strerror}",
                f"make room, or make .marsmith/servers/{self.state.port} writable",
            ) from error
        self.record = record

    def waiting_for(self, call: Callable[[], _Result]) -> _Result:
        """Return what `call` does. If the user wants to stop, what it started is ended."""
        pool = ThreadPoolExecutor(max_workers=1)
        try:
            answer = pool.submit(call)
            while not answer.done():
                while self.stop.requested and end_own() and not answer.done():
                    time.sleep(_PAUSE)
                self.require_going()
                time.sleep(_PAUSE)
            return answer.result()
        finally:
            pool.shutdown(wait=False)

    def described(self, name: str, version: str) -> Model:
        """Describe one version."""
        (model,) = self.client.describe(name, version)
        return model

    def prove(self, version: Version, workers: tuple[int, int] | None = None) -> int:
        """Wait for a version's workers, give it as many as wanted, and replay its samples.

        Returns how many requests were answered rightly.
        """
        archive = PlacedArchive(path_of(self.project, version), version.name)
        deadline = time.monotonic() + self.timeout
        sources = source_names(self.project)
        Start(
            self.server, self.client, [archive], deadline, self.stop, sources, "ended by itself"
        ).wait()
        self.require_going()
        model = self.described(version.name, version.version)
        if workers and workers != (model.min_workers, model.max_workers):
            self.step(f"scale {version.name} {version.version} to {workers[0]}:{workers[1]}")
            self.waiting_for(lambda: self.scale(version, workers))
            model = self.described(version.name, version.version)
        self.step(f"replay the samples against {version.name} {version.version}")
        count = model.min_workers
        return self.waiting_for(lambda: replay(self.client, archive, version.version, count))

    def scale(self, version: Version, bounds: tuple[int, int]) -> Model:
        """Set a version's number of workers, and wait until that is so."""
        return self.client.scale(version.name, *bounds, self.timeout, version=version.version)

    def start_workers(self, version: Version, bounds: tuple[int, int]) -> int:
        """Give a version that has none its workers, and prove it; returns what `prove` does."""
        try:
            self.waiting_for(lambda: self.scale(version, bounds))
        except RefusedError as error:
            if error.status != FAILED:
                raise
            # They do not load: what proves the version finds the cause in the logs.
        return self.prove(version)

    def scale_back(self, version: Version, bounds: tuple[int, int]) -> None:
        """Undo a scaling, once nobody waits for the version, or else anyway."""
        with suppress(MarsmithError):
            self.drained(version)
        self.scale(version, bounds)

    def drained(self, version: Version) -> bool:
        """Wait until nobody waits for a version any more; False if that takes too long."""
        model = self.described(version.name, version.version)
        if not model.ready_workers:
            return True  # nobody has a request in hands, and no request would be answered
        patience = max(_LONGEST_DRAIN, 2.0 * model.response_timeout)
        pid = self.state.front_end[0]
        return drain(self.server, pid, self.client, model, patience, self.require_going)

    def observe(self) -> Record:
        """Return the record as the server is now."""
        return observed(self.record, self.client.models())

    def retire(self, version: Version) -> None:
        """Unregister a version, once nobody waits for it. One that is not there is no error.

        Raises RolloutError if somebody still waits after minutes.
        """
        if _is_there(self.observe(), version):
            if not self.drained(version):
                raise RolloutError(
                    f"{version.name} {version.version} is still busy",
                    f"later: marsmith undeploy {version.name} {version.version}",
                )
            self.client.unregister(version.name, version.version)

    def unregister(self, version: Version) -> None:
        """Unregister a version that failed, once nobody waits for it, or else anyway."""
        with suppress(MarsmithError):
            self.retire(version)
        if _is_there(self.observe(), version):
            self.client.unregister(version.name, version.version)

    def await_worker(self, version: Version) -> None:
        """Wait for somebody to answer what is queued: TorchServe never answers what it forgets."""
        end = time.monotonic() + self.timeout
        while time.monotonic() < end:
            model = self.described(version.name, version.version)
            if model.ready_workers or not model.pending_requests:
                return
            time.sleep(_PAUSE)

    @contextmanager
    def backing_out(self, what: str) -> Iterator[None]:
        """Undo what was done if anything goes wrong; the error says at which step, and of what."""
        before = self.record
        try:
            yield
        except MarsmithError as error:
            raise self._undone(what, error.message, error.hint, before) from error
        except OSError as error:
            why = f"{error.filename or 'a file'}: {error.strerror}"
            hint = "make room, or mend the permissions"
            raise self._undone(what, why, hint, before) from error
        except BaseException:
            self._undone(what, "", "", before)
            raise

    def _undone(self, what: str, why: str, hint: str, before: Record) -> RolloutError:
        self._goes_back = True  # stopped once more, it would leave half of it
        step = self.now
        if self._undo:
            self.tell("going back to what was served before")
        stands = self._is_back()
        if not stands:
            why, hint = "the server has ended", "start it again: marsmith serve"
        with client_of(self.state, 60.0, _PATIENT if stands else ONCE) as self.client:
            while self._undo:
                with suppress(MarsmithError, OSError):
                    self._undo.pop()()
            end = f"; {self._left_over(before)}" if stands else ""
        return RolloutError(f"{what} failed at the step '{step}': {why}{end}", hint)

    def _is_back(self) -> bool:
        """Wait for a server whose front end may just be started again; say whether it stands."""
        end = time.monotonic() + _RETURN
        while time.monotonic() < end:
            try:
                self.state = find_server(self.project, self.state.port)
            except MarsmithError:
                return False  # somebody stopped it
            self.server = RunningServer(self.state, self.server.log_folder)
            with suppress(ClientError), client_of(self.state, _LONGEST_LOOK, ONCE) as client:
                client.models()
                return True
            time.sleep(_PAUSE)
        return False

    def _left_over(self, before: Record) -> str:
        """Say whether the server is as it was, or how it differs."""
        try:
            now = _outline(observed(before, self.client.models()))
        except ClientError as error:
            return f"and whether that is served still, nobody knows: {error.message}"
        was = _outline(before)
        if now == was:
            return "what was served before still is"
        return f"and the server is not as it was: {sorted(now ^ was)}, see marsmith versions"


def _is_there(record: Record, version: Version) -> bool:
    return any((one.name, one.version) == (version.name, version.version) for one in record)


def _outline(record: Record) -> set[tuple[str, str, bool, int, int]]:
    return {(v.name, v.version, v.default, v.min_workers, v.max_workers) for v in record}


@contextmanager
def turn(project: Project, port: int) -> Iterator[None]:
    """Be the only one who changes what a server serves. Raises RolloutError if another one is."""
    with recording_within(project, port, _LONGEST_LOOK) as alone:
        if not alone:
            raise RolloutError(
                f"another change to the server on port {port} is under way",
                "wait until it is done, and try again",
            )
        yield


@contextmanager
def operating(
    project: Project, port: int | None, timeout: float, tell: Callable[[str], None]
) -> Iterator[Operation]:
    """Begin a change to what the project's server serves. Nobody else can at the same time.

    Raises ServerError if no server runs, RolloutError if it is not ready or another change is
    under way.
    """
    state = find_server(project, port)
    if not state.ready:
        raise RolloutError(
            f"the server on port {state.port} is not ready", "wait for it: marsmith status"
        )
    with (
        stop_signals() as stop,
        turn(project, state.port),
        client_of(state, timeout, ONCE) as client,
    ):
        server = RunningServer(state, server_folder(project, state.port))
        record = read_record(project, state.port)
        operation = Operation(project, state, client, server, stop, timeout, tell, record)
        operation.record = operation.observe()
        yield operation
