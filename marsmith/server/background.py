"""`marsmith serve` as a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, replace

from marsmith.core.interrupts import stop_signals
from marsmith.core.private_files import create_private
from marsmith.project.project import Project
from marsmith.server.hosting import TORCHSERVE, Hosting
from marsmith.server.leftovers import require_none_abandoned
from marsmith.server.options import ServeOptions
from marsmith.server.state import ServerState, running_servers, server_folder
from marsmith.torchserve.ports import free_ports, require_free
from marsmith.torchserve.properties import addresses

BACKGROUND_LOG = "serve.log"
STOPPED = 130  # the exit status of a `marsmith serve` that was stopped before it was ready


@dataclass(frozen=True)
class FailedStart:
    """A `marsmith serve` that did not become ready."""

    printed: str  # names the cause
    status: int  # its exit status: the same as in the foreground


def serve_in_background(
    project: Project, options: ServeOptions, hosting: Hosting = TORCHSERVE
) -> ServerState | FailedStart:
    """Start `marsmith serve`, and return the server's state once it is ready."""
    if options.port == 0:
        options = replace(options, port=free_ports(5))
    places = addresses(hosting.properties(project, options))
    require_none_abandoned(project, places[0].port)
    for place in places:
        require_free(place)  # before the log of a server that runs there is overwritten
    log = server_folder(project, places[0].port) / BACKGROUND_LOG
    command = [sys.executable, "-m", "marsmith", "--project", str(project.root), options.command]
    with stop_signals() as stop, create_private(log) as output:
        process = subprocess.Popen(  # noqa: S603
            command + options.arguments(),
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
    status = STOPPED if stop.requested else process.returncode
    return FailedStart(log.read_text(errors="replace"), status if status > 0 else 1)
