"""Which servers of a project run: one folder a port under `.marsmith/servers`, with its logs.

A state file counts only while the process that wrote it lives, so a killed server leaves no stale
state. Processes are known by pid and start time, since pids are reused.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from marsmith.core.atomic_write import replacing
from marsmith.core.errors import ServerError
from marsmith.core.processes import end_children_of, end_server, lives
from marsmith.project.project import Project
from marsmith.torchserve.environment import FOLDER_PREFIX

_STATE_FILE = "state.json"
SERVING_LOCK = "serving.lock"  # in a server's folder; held by the serve that it is of


@dataclass(frozen=True)
class ServerState:
    """What is known of a server that `marsmith serve` started."""

    port: int
    url: str
    management_url: str
    metrics_url: str
    models: list[str]
    unproven: list[str]  # those of them without a sample
    ready: bool
    since: float  # seconds since the epoch
    supervisor: tuple[int, float]  # pid and start time of `marsmith serve`
    front_end: tuple[int, float]  # and of TorchServe's own process
    folder: str  # TorchServe's temporary folder
    secure: bool  # whether it needs tokens
    certificate: str | None  # the file to trust, with TLS
    warnings: list[str]  # about who can reach it
    restarts: int = 0  # of a front end that died
    restored: list[str] = field(default_factory=list)  # versions that were deployed before it
    public_key: str | None = None  # the file of the key that every archive must be signed with

    @property
    def abandoned(self) -> bool:
        """Whether `marsmith serve` was killed and its TorchServe lives on."""
        return not lives(self.supervisor)


def server_folder(project: Project, port: int) -> Path:
    """Return the folder for the state and the logs of the server on `port`."""
    return project.state_folder(f"servers/{port}")


def write_state(project: Project, state: ServerState) -> None:
    """Record a server, whole or not at all."""
    with replacing(server_folder(project, state.port) / _STATE_FILE) as file:
        file.write(json.dumps(asdict(state)).encode())


def forget_state(project: Project, port: int) -> None:
    """Remove a server's record; its logs stay."""
    (server_folder(project, port) / _STATE_FILE).unlink(missing_ok=True)


def running_servers(project: Project) -> list[ServerState]:
    """Return the servers of which a process lives, by port; forget the others."""
    found = []
    for path in sorted((project.root / ".marsmith" / "servers").glob(f"*/{_STATE_FILE}")):
        try:
            values = json.loads(path.read_text())
            for key in ("supervisor", "front_end"):
                pid, started = values[key]
                values[key] = (int(pid), float(started))
            state = ServerState(**values)
        except (OSError, ValueError, TypeError, KeyError):
            path.unlink(missing_ok=True)
            continue
        if lives(state.supervisor) or lives(state.front_end):
            found.append(state)
        else:
            end_abandoned(project, state)
    return sorted(found, key=lambda state: state.port)


def require_none_abandoned(project: Project, port: int) -> None:
    """Raise ServerError if a TorchServe is left on a port whose `marsmith serve` was killed."""
    for state in running_servers(project):
        if state.port == port and state.abandoned:
            raise ServerError(
                f"a TorchServe of this project is left on port {port}, without its marsmith serve",
                f"end it: marsmith stop --port {port}",
                code="abandoned",
            )


def end_abandoned(project: Project, state: ServerState) -> None:
    """End a TorchServe whose `marsmith serve` is gone, and remove what it left."""
    if lives(state.front_end):
        end_server(state.front_end[0])
    # Busy workers outlive a front end that was killed. Its pid may be reused by now, but no other
    # server has that folder.
    if Path(state.folder).name.startswith(FOLDER_PREFIX):
        end_children_of(Path(state.folder))
        shutil.rmtree(state.folder, ignore_errors=True)
    forget_state(project, state.port)
