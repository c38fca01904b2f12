"""Serve archives: start TorchServe, wait until it is proven, stop it without a trace."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from marsmith.archive.reader import Archive
from marsmith.client import ONCE
from marsmith.core.errors import ServerError
from marsmith.core.file_lock import locked_within
from marsmith.core.interrupts import stop_signals
from marsmith.core.processes import identity
from marsmith.project.entries import source_names
from marsmith.project.project import Project
from marsmith.security.exposure_rules import asks_for_tokens, token_lifetime
from marsmith.security.hardening import Guard, guard
from marsmith.security.key_rotation import KeyRotation
from marsmith.security.signatures import require_signatures
from marsmith.security.signing_keys import fingerprint
from marsmith.server.lookup import client_of, server_properties
from marsmith.server.process import KEY_FILE, TorchServe
from marsmith.server.readiness import Start
from marsmith.server.start_plan import Beginning, beginning
from marsmith.server.state import (
    ServerState,
    forget_state,
    running_servers,
    server_folder,
    write_state,
)
from marsmith.server.supervisor import Supervisor
from marsmith.server.tidying import keep_deployed
from marsmith.server.version_record import recording, write_record
from marsmith.torchserve.log_config import LogFormat
from marsmith.torchserve.ports import free_ports, require_free
from marsmith.torchserve.properties import addresses

DEFAULT_TIMEOUT = 120.0  # seconds for all models to load and answer; TorchServe's own, per model
BACKGROUND_LOG = "serve.log"
_LOCK = "serving.lock"
_LOOKING = 5.0  # seconds for an answer about what is served


@dataclass(frozen=True)
class Wish:
    """What is to be served, and how. No names: all archives."""

    names: tuple[str, ...] = ()
    port: int | None = None  # None takes the addresses of config.properties, 0 five free ports
    timeout: float = DEFAULT_TIMEOUT
    public_key: Path | None = None  # whose signature every archive must carry
    secure: bool = False  # whether every request must carry a token
    tls: bool = False
    log_format: LogFormat = "text"
    fresh: bool = False  # whether what was deployed is forgotten
    fork: bool = True  # whether workers are forked from one process, or each imports PyTorch

    def arguments(self) -> list[str]:
        """Return it as arguments of `marsmith serve`."""
        given = [*self.names, "--timeout", str(self.timeout)]
        given += ["--port", str(self.port)] if self.port is not None else []
        given += [f"--require-signature={self.public_key.absolute()}"] if self.public_key else []
        given += ["--log-format", self.log_format] if self.log_format != "text" else []
        given += ["--fresh"] * self.fresh + ["--no-fork"] * (not self.fork)
        return given + ["--secure"] * self.secure + ["--tls"] * self.tls


def serve(
    project: Project, wish: Wish, ready: Callable[[ServerState], None] = lambda _: None
) -> bool:
    """Serve archives in the foreground until the user stops it; say whether it got ready.

    `ready` is called once every model has answered its samples rightly. Raises WorkerError with
    the true cause if a worker cannot load its model, ServerError if TorchServe does not start,
    answers wrongly or ends by itself; before anything is started, FindingsError for all archives
    that the owner of the public key did not sign, ProjectError and CertificateError for a
    configuration that cannot be guarded. No process is left in any case.
    """
    values = server_properties(project, wish.port)
    port = addresses(values)[0].port
    begun = beginning(project, wish.names, port, fresh=wish.fresh)
    archives = begun.archives(project)
    signed_by = None
    if wish.public_key is not None:
        signed_by = fingerprint(wish.public_key)
        require_signatures(begun.paths(project), wish.public_key, begun.names(project))
    _require_no_abandoned(project, port)
    guarded = guard(project, values, secure=wish.secure, tls=wish.tls)
    properties = guarded.properties | begun.properties(values)
    log_folder = server_folder(project, port)
    files = {} if begun.restored else begun.files
    store = project.model_store
    server = TorchServe(properties, store, files, log_folder, wish.log_format, fork=wish.fork)
    with stop_signals() as stop, ExitStack() as stack, _only_one(project, port):
        server.start()
        try:
            pinned = begun.pinned(project, port, signed_by)
            state = _state(server, wish, begun, archives, guarded)
            write_state(project, state)
            stack.enter_context(_rotation(state, properties))
            with client_of(state, wish.timeout, ONCE) as client:
                deadline = time.monotonic() + wish.timeout
                Start(server, client, archives, deadline, stop, source_names(project)).wait()
            if not stop.requested:
                with recording(project, port):
                    write_record(project, port, pinned)
                state = replace(state, ready=True)
                watching = stack.enter_context(client_of(state, _LOOKING, ONCE))
                supervisor = Supervisor(project, server, watching, stop, wish.timeout, state)
                supervisor.look()
                write_state(project, state)
                ready(state)
                state = replace(supervisor.watch(), ready=True)
        finally:
            stack.close()
            server.stop()
            with suppress(OSError):  # a disk that is read-only now: whoever looks next forgets it
                forget_state(project, port)
                keep_deployed(project, port, begun.aside)
    return state.ready


@contextmanager
def _only_one(project: Project, port: int) -> Iterator[None]:
    """Hold what says that the port is ours: another one would take the files of the first away."""
    with locked_within(server_folder(project, port) / _LOCK, 0.0) as alone:
        if not alone:
            raise ServerError(
                f"another marsmith serve of this project has port {port}",
                "see it: marsmith status; stop it: marsmith stop; or take another port: --port N",
            )
        yield


def _require_no_abandoned(project: Project, port: int) -> None:
    for state in running_servers(project):
        if state.port == port and state.abandoned:
            raise ServerError(
                f"a TorchServe of this project is left on port {port}, without its marsmith serve",
                f"end it: marsmith stop --port {port}",
            )


def serve_in_background(project: Project, wish: Wish) -> ServerState | str:
    """Start `marsmith serve` as a process of its own, and return once it is ready.

    If it does not get ready, return what it printed instead: it names the cause.
    """
    if wish.port == 0:
        wish = replace(wish, port=free_ports(5))
    places = addresses(server_properties(project, wish.port))
    _require_no_abandoned(project, places[0].port)
    for place in places:
        require_free(place)  # before the log of a server that runs there is touched
    log = server_folder(project, places[0].port) / BACKGROUND_LOG
    command = [sys.executable, "-m", "marsmith", "--project", str(project.root), "serve"]
    command += wish.arguments()
    with stop_signals() as stop, log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=log.parent,  # `-m` looks for modules in the working directory first
        )
        while process.poll() is None:
            for state in running_servers(project):
                if state.supervisor[0] == process.pid and state.ready:
                    return state
            if stop.requested:
                process.terminate()
            time.sleep(0.1)
    return log.read_text(errors="replace")


def _rotation(state: ServerState, properties: dict[str, str]) -> AbstractContextManager[object]:
    """Renew the server's keys before they end, if it asks for any."""
    if not asks_for_tokens(properties):
        return nullcontext()
    certificate = Path(state.certificate) if state.certificate else None
    key_file = Path(state.folder) / KEY_FILE
    lifetime = token_lifetime(properties)
    return KeyRotation(state.management_url, key_file, lifetime, certificate)


def _state(
    server: TorchServe, wish: Wish, begun: Beginning, archives: list[Archive], guarded: Guard
) -> ServerState:
    inference, management, metrics = addresses(guarded.properties)[:3]
    return ServerState(
        port=inference.port,
        url=inference.local_url,
        management_url=management.local_url,
        metrics_url=metrics.local_url,
        models=[archive.name for archive in archives],
        unproven=[archive.name for archive in archives if not archive.samples],
        ready=False,
        since=time.time(),
        supervisor=identity(os.getpid()),
        front_end=identity(server.pid),
        folder=str(server.folder),
        secure=asks_for_tokens(guarded.properties),
        certificate=str(guarded.certificate) if guarded.certificate else None,
        warnings=list(guarded.warnings),
        restored=begun.told(),
        public_key=str(wish.public_key.absolute()) if wish.public_key else None,
    )
