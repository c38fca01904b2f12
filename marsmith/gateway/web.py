"""Serves the application over a back end, until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import logging
import signal
import socket
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from marsmith.core.atomic_write import replacing
from marsmith.core.errors import MarsmithError
from marsmith.core.extras import install_hint
from marsmith.core.installed import is_installed
from marsmith.gateway.access.guards import DRAIN, Guards, guards_of, own_certificate, server_config
from marsmith.gateway.app import application
from marsmith.gateway.backend import Backend
from marsmith.gateway.canary import with_canaries
from marsmith.gateway.jobs.opening import open_jobs
from marsmith.gateway.keeping import show_life
from marsmith.gateway.local.backend import LocalBackend
from marsmith.gateway.served import Settings
from marsmith.gateway.server import LISTENING_FILE, PROBLEM_FILE
from marsmith.gateway.torchserve.backend import TorchServeBackend

# New objects before garbage is collected, instead of 700: requests leave none.
_GARBAGE = 50_000


def run(settings: Settings) -> int:
    """Serve; return the exit status of the process."""
    return uvloop.run(_serve(settings))


def backend_of(settings: Settings) -> Backend:
    """Return the back end that the settings name."""
    if settings.backend == "torchserve":
        behind = TorchServeBackend(settings)
        return with_canaries(behind, behind.folders)
    return with_canaries(LocalBackend(settings), lambda: [Path(settings.folder)])


async def _serve(settings: Settings) -> int:
    backend = backend_of(settings)
    listeners = _sockets(settings)
    guards = guards_of(settings, [one.getsockname()[0] for one in listeners.values()])
    jobs, runner = open_jobs(settings, backend, guards)
    table = settings.gateway
    own = own_certificate(settings.properties)
    apps = {name: application(backend, guards, name, table, jobs, own) for name in listeners}
    servers = [
        _Server(server_config(app, guards, settings.properties), listeners[name])
        for name, app in apps.items()
    ]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    listening = [asyncio.ensure_future(one.serve([one.socket])) for one in servers]
    grpc_servers, living = [], asyncio.Future[None]()
    try:
        grpc = _start_grpc(settings, backend, guards)
        grpc_servers, _ = await asyncio.gather(grpc, backend.start())
        runner.start()
        gc.collect()
        gc.freeze()  # what lives as long as the process need not be looked through again
        gc.set_threshold(_GARBAGE)
        (Path(settings.folder) / LISTENING_FILE).touch()
        living = asyncio.ensure_future(show_life(settings.keeper))
    except MarsmithError as error:
        _tell(settings, error)
    await stop.wait()
    await runner.stop()
    for one in servers:
        one.should_exit = True
    await asyncio.gather(*listening, *(one.stop(DRAIN) for one in grpc_servers))
    await backend.stop()
    living.cancel()
    guards.observer.close()
    return 0


async def _start_grpc(settings: Settings, backend: Backend, guards: Guards) -> list[Any]:
    """Return the servers; none without the extra, whose absence the log tells."""
    if not is_installed("grpc"):
        logging.getLogger(__name__).warning("no gRPC: %s", install_hint("grpc"))
        return []
    # It takes as long as the first worker's process: they start side by side.
    await asyncio.to_thread(importlib.import_module, "marsmith.gateway.grpc_server")
    from marsmith.gateway.access.grpc_access import GrpcAccess
    from marsmith.gateway.grpc_server import start_grpc

    front, interceptor = guards.admitted(backend), GrpcAccess(guards)
    rotation_model = settings.gateway.get("grpc", {}).get("model")
    properties = settings.properties
    return await start_grpc(settings.grpc, front, properties, interceptor, rotation_model)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self.socket = listener

    def capture_signals(self):  # type: ignore[no-untyped-def]
        """Leave signals to us: there may be several servers in this process."""
        from contextlib import nullcontext

        return nullcontext()


def _sockets(settings: Settings) -> dict[str, socket.socket]:
    return {name: socket.socket(fileno=one) for name, one in settings.listeners.items()}


def _tell(settings: Settings, error: MarsmithError) -> None:
    values = {"message": error.message, "hint": error.hint, "code": error.code}
    with replacing(Path(settings.folder) / PROBLEM_FILE, 0o600) as file:
        file.write(json.dumps(values).encode())
