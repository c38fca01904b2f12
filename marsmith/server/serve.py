"""Serve archives: start TorchServe, wait until their samples pass, stop it without a trace."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

from marsmith.archive.reader import Archive
from marsmith.client import ONCE
from marsmith.core.errors import ProjectError, ServerError
from marsmith.core.file_lock import locked_within
from marsmith.core.findings import Finding, Severity
from marsmith.core.interrupts import Stop, stop_signals
from marsmith.core.processes import identity, this_system
from marsmith.project.entries import source_names
from marsmith.project.project import Project
from marsmith.security.exposure_rules import asks_for_tokens, token_lifetime
from marsmith.security.hardening import Guard
from marsmith.security.key_rotation import KeyRotation
from marsmith.server.change_journal import settle_before_start
from marsmith.server.front_process import FrontProcess
from marsmith.server.hosting import TORCHSERVE, Hosting
from marsmith.server.leftovers import clear_crashed, require_none_abandoned
from marsmith.server.lookup import client_of
from marsmith.server.notify import notify
from marsmith.server.options import ServeOptions
from marsmith.server.pinned_archives import (
    discard_all_but,
    keep_deployed,
    offer_built,
    tidy_up,
)
from marsmith.server.process import KEY_FILE
from marsmith.server.readiness import Start
from marsmith.server.start_plan import StartPlan
from marsmith.server.state import (
    NOT_STARTED,
    SERVING_LOCK,
    ServerState,
    forget_state,
    server_folder,
    write_state,
)
from marsmith.server.supervisor import Supervisor
from marsmith.server.version_record import Record, recording, write_record
from marsmith.torchserve.devices import device_problems, gpus_here
from marsmith.torchserve.properties import addresses

_ANSWER = 5.0  # seconds for the supervisor's requests


def serve(
    project: Project,
    options: ServeOptions,
    ready: Callable[[ServerState], None] = lambda _: None,
    hosting: Hosting = TORCHSERVE,
) -> bool:
    """Serve archives in the foreground until the user stops it; say whether it became ready.

    `ready` is called once the samples of every model pass. Raises WorkerError with the true cause
    if a worker cannot load its model, ServerError if TorchServe does not start, answers wrongly or
    ends by itself. Before anything is started it raises FindingsError for all archives without a
    valid signature, ProjectError and CertificateError for a configuration that is not safe. No
    process is left in any case.
    """
    properties = hosting.properties(project, options)
    port = addresses(properties)[0].port
    with _only_one(project, port):
        require_none_abandoned(project, port)
        clear_crashed(project, port)
        settle_before_start(project, port)
        tidy_up(project, port)
        aside: Record = ()
        try:
            plan = hosting.plan(project, options, properties)
            aside = plan.aside
            if options.public_key is not None:
                plan = plan.verified(options.public_key)
            guarded = hosting.guard(project, options, properties)
            return _start(hosting.host(plan, guarded, options), plan, options, guarded, ready)
        finally:
            # A disk may be read-only now: the next serve tidies up.
            with suppress(OSError, ProjectError):
                keep_deployed(project, port, aside)


def _start(
    server: FrontProcess,
    plan: StartPlan,
    options: ServeOptions,
    guarded: Guard,
    ready: Callable[[ServerState], None],
) -> bool:
    if options.public_key is None:
        offer_built(plan.project, plan.port)
    with stop_signals() as stop:
        state = _state(server, options, plan, guarded)
        try:
            # Recorded first: if this process is killed, no TorchServe is left that nobody knows.
            server.start(lambda: write_state(plan.project, state))
            state = replace(state, front_end=identity(server.pid))
            write_state(plan.project, state)
            with _rotation(state, guarded.properties):
                return _run(server, plan, replace(state, ready=True), options, stop, ready)
        finally:
            server.stop()
            with suppress(OSError):
                forget_state(plan.project, plan.port)


def _run(
    server: FrontProcess,
    plan: StartPlan,
    state: ServerState,
    options: ServeOptions,
    stop: Stop,
    ready: Callable[[ServerState], None],
) -> bool:
    """Wait until it is ready, then keep it up; False if the user stops it before."""
    project, timeout = plan.project, options.timeout
    record = plan.record()
    with client_of(state, timeout, ONCE) as client:
        deadline = time.monotonic() + timeout
        Start(server, client, plan.archives, deadline, stop, source_names(project)).wait()
    if stop.requested:
        return False
    with recording(project, plan.port):
        write_record(project, plan.port, record)
        # What was forgotten by --fresh; the links to the model store come again at once.
        discard_all_but(project, plan.port, [one.file for one in (*record, *plan.aside)])
    with client_of(state, _ANSWER, ONCE) as client:
        supervisor = Supervisor(project, server, client, stop, timeout, state)
        supervisor.look()
        write_state(project, state)
        ready(state)
        notify("READY=1")
        supervisor.watch()
        notify("STOPPING=1")
    return True


@contextmanager
def _only_one(project: Project, port: int) -> Iterator[None]:
    """Hold the lock of a port: a second server would remove the files of the first."""
    with locked_within(server_folder(project, port) / SERVING_LOCK, 0.0) as alone:
        if not alone:
            raise ServerError(
                f"another server of this project has port {port}",
                f"stop it: marsmith stop --port {port}; or choose another port: --port N",
                code="already-serving",
            )
        yield


def _rotation(state: ServerState, properties: dict[str, str]) -> AbstractContextManager[object]:
    """Renew TorchServe's keys before they expire, if it needs any."""
    if state.kind != "torchserve" or not asks_for_tokens(properties):
        return nullcontext()
    certificate = Path(state.certificate) if state.certificate else None
    key_file = Path(state.folder) / KEY_FILE
    lifetime = token_lifetime(properties)
    return KeyRotation(state.management_url, key_file, lifetime, certificate)


def _state(
    server: FrontProcess, options: ServeOptions, plan: StartPlan, guarded: Guard
) -> ServerState:
    inference, management, metrics = addresses(guarded.properties)[:3]
    archives = plan.archives
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
        front_end=NOT_STARTED,
        folder=str(server.folder),
        nonce=server.own_folder.nonce,
        system=this_system(),
        secure=asks_for_tokens(guarded.properties),
        certificate=str(guarded.certificate) if guarded.certificate else None,
        warnings=[
            {"rule": one.rule, "message": one.message, "hint": one.hint}
            for one in (*guarded.warnings, *_missing_devices(archives))
        ],
        restored=plan.restored_words(),
        kind=options.kind,
        in_front=server.in_front,
        public_key=str(options.public_key.absolute()) if options.public_key else None,
    )


def _missing_devices(archives: Iterable[Archive]) -> Iterator[Finding]:
    """Yield what the models want of GPUs that are not here, and get from the CPU."""
    gpus = gpus_here()
    for archive in archives:
        for _, message, hint, severity in device_problems(archive.model_config, gpus):
            if severity is Severity.WARNING:
                yield Finding(f"{archive.name}: {message}", hint, rule="serving-device")
