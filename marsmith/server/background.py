"""`marsmith serve` as a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

from marsmith.core.interrupts import stop_signals
from marsmith.project.project import Project
from marsmith.server.lookup import server_properties
from marsmith.server.options import ServeOptions
from marsmith.server.state import (
    ServerState,
    require_none_abandoned,
    running_servers,
    server_folder,
)
from marsmith.torchserve.ports import free_ports, require_free
from marsmith.torchserve.properties import addresses

BACKGROUND_LOG = "serve.log"


def serve_in_background(project: Project, options: ServeOptions) -> ServerState | str:
    """Start `marsmith serve`, and return the server's state once it is ready.

    If it does not become ready, return what it printed: that names the cause.
    """
    if options.port == 0:
        options = replace(options, port=free_ports(5))
    places = addresses(server_properties(project, options.port))
    require_none_abandoned(project, places[0].port)
    for place in places:
        require_free(place)  # before the log of a server that runs there is overwritten
    log = server_folder(project, places[0].port) / BACKGROUND_LOG
    command = [sys.executable, "-m", "marsmith", "--project", str(project.root), "serve"]
    with stop_signals() as stop, log.open("wb") as output:
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
    return log.read_text(errors="replace")
