"""Which servers of a project run: one folder a port under `.marsmith/servers`, with its logs.

Reading states changes nothing. A state counts only where it was written: in the same boot and PID
namespace, and while the server's own folder holds its nonce. Then its processes are known by pid
and start time, since pids are reused, and by the folder, which they use. Any other state may be
from another machine, or forged; it is unknown, and nothing is done with what it says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from marsmith.core.atomic_write import replacing
from marsmith.core.processes import children_of, lives, this_system, uses
from marsmith.project.project import Project
from marsmith.server.options import Kind
from marsmith.server.own_folder import is_ours

STATE_FILE = "state.json"
SERVING_LOCK = "serving.lock"  # in a server's folder; held by the serve that it is of
NOT_STARTED = (0, 0.0)  # the identity of a front end that does not run yet
_FORMAT = 1  # raised when an older Marsmith would misread a state
_LARGEST = 1 << 20  # bytes of a state

Condition = Literal["running", "abandoned", "crashed"]


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
    nonce: str = field(repr=False)  # which that folder holds too
    system: str  # the boot and the PID namespace of the processes
    secure: bool  # whether it needs tokens
    certificate: str | None  # the file to trust, with TLS
    warnings: list[dict[str, str]]  # about who can reach it: rule, message, hint
    restarts: int = 0  # of a front end that died
    restored: list[str] = field(default_factory=list)  # versions that were deployed before it
    kind: Kind = "torchserve"
    in_front: bool = False  # a gateway in front of TorchServes, which are changed themselves
    public_key: str | None = None  # the file of the key that every archive must be signed with
    format: int = _FORMAT

    @property
    def condition(self) -> Condition:
        """Whether it runs; abandoned: without `marsmith serve`; crashed: nothing of it runs."""
        folder = Path(self.folder)
        if _is_own(self.supervisor, folder):
            return "running"
        # Busy workers outlive a front end that was killed, and a front end may have been started
        # without having been recorded yet.
        if _is_own(self.front_end, folder) or children_of(folder):
            return "abandoned"
        return "crashed"

    @property
    def drains_itself(self) -> bool:
        """Whether it ends workers only once their open requests are answered."""
        return self.kind == "gateway"

    @property
    def abandoned(self) -> bool:
        """Whether `marsmith serve` was killed and its TorchServe lives on."""
        return self.condition == "abandoned"


@dataclass(frozen=True)
class UnknownState:
    """A state of which nobody can say here whether its server runs."""

    port: int
    file: Path
    reason: str


def _is_own(known: tuple[int, float], folder: Path) -> bool:
    """Say whether a process lives, and is of the server with that folder."""
    return lives(known) and uses(known[0], folder)


def server_path(project: Project, port: int) -> Path:
    """Return where the state and the logs of the server on `port` are; makes nothing."""
    return project.state_path(f"servers/{port}")


def server_folder(project: Project, port: int) -> Path:
    """Return that folder, made if it is missing."""
    return project.state_folder(f"servers/{port}")


def write_state(project: Project, state: ServerState) -> None:
    """Record a server, whole or not at all; what a newer Marsmith added to the record stays."""
    path = server_folder(project, state.port) / STATE_FILE
    values = asdict(state)
    try:
        before = _values(path)
    except (OSError, ValueError):
        before = {}
    if before.get("nonce") == state.nonce:
        values = before | values
    with replacing(path, 0o600) as file:
        file.write(json.dumps(values).encode())


def forget_state(project: Project, port: int) -> None:
    """Remove a server's record; its logs stay."""
    (server_path(project, port) / STATE_FILE).unlink(missing_ok=True)


def recorded_servers(project: Project) -> list[ServerState | UnknownState]:
    """Return all servers of which there is a record, by port. Changes nothing."""
    found = project.state_path("servers").glob(f"*/{STATE_FILE}")
    ports = sorted(int(path.parent.name) for path in found if path.parent.name.isdecimal())
    return [recorded for port in ports if (recorded := recorded_server(project, port)) is not None]


def recorded_server(project: Project, port: int) -> ServerState | UnknownState | None:
    """Return what the record of the server on `port` says, if there is one. Changes nothing."""
    path = server_path(project, port) / STATE_FILE
    try:
        state = _parsed(_values(path), port)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return UnknownState(port, path, f"its record cannot be read: {reason}")
    problem = _problem(state)
    return UnknownState(port, path, problem) if problem else state


def running_servers(project: Project) -> list[ServerState]:
    """Return the servers of which a process lives, by port. Changes nothing."""
    return [
        one
        for one in recorded_servers(project)
        if isinstance(one, ServerState) and one.condition != "crashed"
    ]


def _problem(state: ServerState) -> str | None:
    """Return why nobody can say here whether the server runs."""
    folder = Path(state.folder)
    if state.format > _FORMAT:
        return "a newer Marsmith started it"
    if state.system != this_system():
        return "it was started before this machine's last boot, in another container or elsewhere"
    if is_ours(folder, state.nonce):
        return None
    if folder.exists() or folder.is_symlink():
        return f"its temporary folder {folder} is not the one that it was started with"
    if lives(state.supervisor) or lives(state.front_end):
        return f"its temporary folder {folder} was removed"
    return None  # all of it is gone


def _values(path: Path) -> dict[str, Any]:
    """Return the content of a state file. Raises OSError and ValueError."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise ValueError("it is not a regular file")
    if path.stat().st_size > _LARGEST:
        raise ValueError("it is too large")
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError("it is not JSON") from error
    if not isinstance(values, dict):
        raise ValueError("it is not an object of JSON")
    return values


def _parsed(values: Mapping[str, Any], port: int) -> ServerState:
    """Return a state without what a newer Marsmith added. Raises ValueError."""
    own = {one.name: values[one.name] for one in fields(ServerState) if one.name in values}
    try:
        for key in ("supervisor", "front_end"):
            pid, started = own[key]
            own[key] = (int(pid), float(started))
        state = ServerState(**own)
        texts = (state.url, state.management_url, state.folder, state.nonce, state.system)
        ours = all(isinstance(one, str) and "\0" not in one for one in texts) and state.nonce
        if ours and state.port == port and isinstance(state.format, int):
            return state
    except (KeyError, TypeError, ValueError, OverflowError):
        pass
    raise ValueError("another version of Marsmith wrote it, or it is damaged")
