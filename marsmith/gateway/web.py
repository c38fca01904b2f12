"""Serves the application over a back end, until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from pathlib import Path

import uvicorn
import uvloop

from marsmith.core.atomic_write import replacing
from marsmith.core.errors import MarsmithError
from marsmith.gateway.app import application
from marsmith.gateway.backend import Backend
from marsmith.gateway.local.backend import LocalBackend
from marsmith.gateway.served import Settings
from marsmith.gateway.server import PROBLEM_FILE

_DRAIN = 30  # seconds for open requests to end


def run(settings: Settings) -> int:
    """Serve; return the exit status of the process."""
    return uvloop.run(_serve(settings))


def backend_of(settings: Settings) -> Backend:
    """Return the back end that the settings name."""
    return LocalBackend(settings)


async def _serve(settings: Settings) -> int:
    backend = backend_of(settings)
    servers = [_Server(_config(backend), one) for one in _sockets(settings)]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    listening = [asyncio.ensure_future(one.serve([one.socket])) for one in servers]
    try:
        await backend.start()
    except MarsmithError as error:
        _tell(settings, error)
    await stop.wait()
    for one in servers:
        one.should_exit = True
    await asyncio.gather(*listening)
    await backend.stop()
    return 0


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self.socket = listener

    def capture_signals(self):  # type: ignore[no-untyped-def]
        """Leave signals to us: there may be several servers in this process."""
        from contextlib import nullcontext

        return nullcontext()


def _config(backend: Backend) -> uvicorn.Config:
    return uvicorn.Config(
        application(backend),
        http="httptools",
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_DRAIN,
        backlog=1024,
    )


def _sockets(settings: Settings) -> list[socket.socket]:
    return [socket.socket(fileno=one) for one in settings.listeners.values()]


def _tell(settings: Settings, error: MarsmithError) -> None:
    values = {"message": error.message, "hint": error.hint, "code": error.code}
    with replacing(Path(settings.folder) / PROBLEM_FILE, 0o600) as file:
        file.write(json.dumps(values).encode())
