"""Find a project's server, connect to it, stop it."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil

from marsmith.client import Client, Retries
from marsmith.client.tokens import Api
from marsmith.core.errors import ServerError
from marsmith.core.processes import have_ended
from marsmith.project.project import Project
from marsmith.security.hardening import certificate_of
from marsmith.security.key_rotation import read_key
from marsmith.server.leftovers import end_leftovers
from marsmith.server.process import KEY_FILE
from marsmith.server.state import ServerState, UnknownState, recorded_servers, running_servers
from marsmith.torchserve.ports import free_ports
from marsmith.torchserve.properties import (
    CONFIG_FILE,
    OWN_DEFAULTS,
    WITHOUT_CONFIG,
    addresses,
    with_ports,
)

_STOPPING = 30.0  # seconds


def server_properties(project: Project, port: int | None) -> dict[str, str]:
    """Return config.properties as a server on `port` needs it; 0 stands for five free ports.

    What it does not set, and more if there is no such file, Marsmith sets.
    """
    set_by_us = ("model_store", "load_models", "model_snapshot")
    properties = {key: value for key, value in project.config.items() if key not in set_by_us}
    properties = OWN_DEFAULTS | properties
    if not (project.root / CONFIG_FILE).exists():
        properties |= WITHOUT_CONFIG
    return properties if port is None else with_ports(properties, port or free_ports(5))


def find_server(project: Project, port: int | None = None) -> ServerState:
    """Return the project's one running server, or the one on `port`.

    Raises ServerError if there is none, or more than one and no port to choose.
    """
    chosen = [state for state in running_servers(project) if port in (None, state.port)]
    if len(chosen) > 1:
        chosen = [state for state in chosen if not state.in_front] or chosen
    if not chosen:
        raise _none_runs(project, port)
    require_one(chosen)
    return chosen[0]


def require_one(states: Sequence[ServerState], verb: str = "run") -> None:
    """Raise ServerError if more than one server runs."""
    if len(states) > 1:
        ports = ", ".join(str(state.port) for state in states)
        raise ServerError(
            f"several servers {verb}, on ports {ports}",
            "choose one: --port N",
            code="several-servers",
        )


def no_server(port: int | None = None, verb: str = "runs") -> ServerError:
    """Return the error for a project without a server."""
    where = f" on port {port}" if port is not None else ""
    return ServerError(
        f"no server of this project {verb}{where}", "start one: marsmith serve", code="no-server"
    )


def unknown_server(state: UnknownState) -> ServerError:
    """Return the error for a server of which nobody can say here whether it runs."""
    file = shlex.quote(str(state.file))
    return ServerError(
        f"whether the server on port {state.port} runs is unknown: {state.reason}",
        f"if it does not run, remove its record: rm {file}; marsmith serve replaces it too",
        code="unknown-state",
    )


def _none_runs(project: Project, port: int | None) -> ServerError:
    for state in recorded_servers(project):
        if isinstance(state, UnknownState) and port in (None, state.port):
            return unknown_server(state)
    return no_server(port)


def _to_stop(project: Project, port: int | None) -> ServerState:
    """Return the server that runs; if none does, the one that crashed."""
    recorded = [one for one in recorded_servers(project) if port in (None, one.port)]
    crashed = [
        one for one in recorded if isinstance(one, ServerState) and one.condition == "crashed"
    ]
    if crashed and not any(one.port == port or port is None for one in running_servers(project)):
        require_one(crashed, "crashed")
        return crashed[0]
    return find_server(project, port)


def stop_server(project: Project, port: int | None = None) -> ServerState:
    """Stop the project's one server, or the one on `port`; returns when nothing of it is left.

    What a server left that was killed is removed too.
    """
    state = _to_stop(project, port)
    if state.condition != "running":
        end_leftovers(project, state)
        return state
    pid = state.supervisor[0]
    try:
        supervisor = psutil.Process(pid)
        supervisor.terminate()
        ended = have_ended([supervisor], _STOPPING)
    except psutil.NoSuchProcess:
        return state
    if not ended:
        raise ServerError(
            f"the server on port {state.port} does not stop (pid {pid})",
            f"end it: kill -9 {pid}; then: marsmith stop --port {state.port}",
            code="not-stopped",
        )
    return state


def connect(project: Project, port: int | None = None) -> Client:
    """Return a client for the project's server, however it was started.

    `port` is the inference port, management listens on the next one. Without it, it is the
    one server that `marsmith serve` runs here, else the addresses of config.properties.
    """
    states = running_servers(project)
    if len(states) > 1 or any(state.port == port for state in states):
        return client_of(find_server(project, port))
    if port is None and states:
        return client_of(states[0])
    properties = server_properties(project, port)
    inference, management = (place.local_url for place in addresses(properties)[:2])
    with tempfile.TemporaryDirectory() as folder:  # asking writes nothing into the project
        certificate = certificate_of(project, properties, Path(folder))
        return Client(inference, management, certificate=certificate)


def token(project: Project, api: Api, port: int | None = None) -> str:
    """Return the current key of an API of the project's one server, or the one on `port`.

    Raises ServerError if there is no such server, or it needs no token.
    """
    state = find_server(project, port)
    if not state.secure:
        raise ServerError(
            f"the server on port {state.port} needs no token",
            "send requests without one, or start the server with --secure",
            code="tokens-off",
        )
    return read_key(Path(state.folder) / KEY_FILE, api).value


def client_of(
    state: ServerState,
    timeout: float = 60.0,
    retries: Retries | None = None,
    deadline: float | None = None,
) -> Client:
    """Return a client for a server."""
    key_file = Path(state.folder) / KEY_FILE
    certificate = Path(state.certificate) if state.certificate else None
    return Client(
        state.url,
        state.management_url,
        key_file=key_file,
        metrics_url=state.metrics_url,
        certificate=certificate,
        timeout=timeout,
        deadline=deadline,
        retries=retries,
    )
