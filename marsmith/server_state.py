"""Which servers of a project run: one folder a port under `.marsmith/servers`, with its logs.

A state file is believed only while the process that wrote it lives, so a killed one leaves no
stale claim; processes are known by pid and start time, since pids come round again.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from marsmith.project import Project
from marsmith.replacing import replacing
from marsmith.server import end_group

_STATE_FILE = "state.json"


@dataclass(frozen=True)
class ServerState:
    """What is known of a server that `marsmith serve` started."""

    port: int
    url: str
    management_url: str
    metrics_url: str
    models: list[str]
    ready: bool
    since: float  # seconds since the epoch
    supervisor: tuple[int, float]  # pid and start time of `marsmith serve`
    front_end: tuple[int, float]  # and of TorchServe's own process
    folder: str  # TorchServe's temporary folder

    @property
    def abandoned(self) -> bool:
        """Whether `marsmith serve` was killed and its TorchServe lives on."""
        return not _lives(self.supervisor)


def server_folder(project: Project, port: int) -> Path:
    """Return the folder for the state and the logs of the server on `port`."""
    return project.state_folder(f"servers/{port}")


def process_identity(pid: int) -> tuple[int, float]:
    """Return what tells this process from a later one with the same pid."""
    return pid, _start_time(pid)


def write_state(project: Project, state: ServerState) -> None:
    """Record a server, whole or not at all."""
    with replacing(server_folder(project, state.port) / _STATE_FILE) as file:
        file.write(json.dumps(asdict(state)).encode())


def forget_state(project: Project, port: int) -> None:
    """Remove a server's record; its logs stay."""
    (server_folder(project, port) / _STATE_FILE).unlink(missing_ok=True)


def running_servers(project: Project) -> list[ServerState]:
    """Return the servers of which any process lives, by port; forget the others."""
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
        if _lives(state.supervisor) or _lives(state.front_end):
            found.append(state)
        else:
            shutil.rmtree(state.folder, ignore_errors=True)
            path.unlink(missing_ok=True)
    return sorted(found, key=lambda state: state.port)


def end_abandoned(project: Project, state: ServerState) -> None:
    """End a TorchServe whose `marsmith serve` is gone, and remove what it left."""
    if _lives(state.front_end):
        end_group(state.front_end[0])
    shutil.rmtree(state.folder, ignore_errors=True)
    forget_state(project, state.port)


def _lives(identity: tuple[int, float]) -> bool:
    pid, started = identity
    try:
        same = _start_time(pid) == started
        return same and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ValueError):
        return False


def _start_time(pid: int) -> float:
    """Return when a process started, on a clock that nobody sets.

    psutil counts from the epoch, so its answer changes when the system's clock does.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return psutil.Process(pid).create_time()
    return float(stat.rpartition(")")[2].split()[19])  # proc(5): starttime, in ticks since boot
