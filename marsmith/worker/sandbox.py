"""A worker in a sandbox (programs/sandboxed.py): what it may see and use, and our end of it.

The sandbox holds what strangers wrote away from this machine: no network, nothing to write but a
file system in memory, no other processes, no home folders, no rights, and limits.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from marsmith.core.errors import ServerError
from marsmith.core.findings import Finding

_PACKAGE = Path(__file__).parents[1]
_PROGRAM = _PACKAGE / "programs" / "sandboxed.py"
_NOBODY = 65534
_LARGEST_MESSAGE = 65536
_SYSCTL = Path("/proc/sys")
# What other programs and users keep, and the sockets through which they can be told what to do.
_HIDDEN = ("/home", "/root", "/run", "/var")
_WRITABLE = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - private ones take their place
_GRAPHICS = "/run/opengl-driver"  # NixOS keeps drivers there
_DEVICES = ("nvidia*", "dri", "kfd", "dxg")  # of GPUs
_CACHES = (
    ("HF_HUB_CACHE", "HF_HOME", "hub", ".cache/huggingface/hub"),
    ("", "TORCH_HOME", "hub", ".cache/torch/hub"),
)


_PASSED = {
    "memory": "it used more memory than the sandbox allows",
    "log": "it logged more than the sandbox allows",
}


class SandboxMissingError(Exception):
    """The system allows no sandbox; the text says what is missing."""


def _most_memory() -> int:
    return psutil.virtual_memory().available * 4 // 5


@dataclass(frozen=True)
class Limits:
    """What a worker and its children may use together; sizes in bytes.

    `memory` is without what they share. `storage` is what they may write, in memory too. `data`
    and `cpu` (seconds) are of each process.
    """

    memory: int = field(default_factory=_most_memory)
    data: int = field(default_factory=lambda: 2 * int(psutil.virtual_memory().total))
    storage: int = 0  # none given: as much as the archive needs to be unpacked again, and 1 GiB
    log: int = 64 << 20
    processes: int = 4096  # threads count
    files: int = 4096
    cpu: int = field(default_factory=lambda: 3600 * (os.cpu_count() or 1))


@dataclass(frozen=True)
class Sandbox:
    """That a worker shall run in a sandbox; `required`: rather not at all than without.

    `missing` is told what the system lacks if it allows no sandbox.
    """

    required: bool = False
    limits: Limits = field(default_factory=Limits)
    missing: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class End:
    """How a worker in a sandbox ended: its exit status, or the limit that it passed."""

    status: int | None = None
    limit: str = ""


class Control:
    """Our end of the socket to the sandbox: when it closes, all processes in there end."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._end: End | None = None

    def connection(self, timeout: float) -> socket.socket | None:
        """Return the connection to the worker; None if it ended before.

        Raises SandboxMissingError, and TimeoutError.
        """
        message, handed = self._receive(timeout)
        if handed:
            return socket.socket(fileno=handed[0])
        if "missing" in message:
            raise SandboxMissingError(message["missing"])
        self._end = _end(message)
        return None

    def end(self, timeout: float) -> End:
        """Return how the worker ended, if it did within so many seconds."""
        if self._end is None:
            try:
                self._end = _end(self._receive(timeout)[0])
            except TimeoutError:
                return End()
        return self._end

    def close(self) -> None:
        """End all processes of the sandbox."""
        self._ours.close()
        self.theirs.close()

    def _receive(self, timeout: float) -> tuple[dict[str, Any], list[int]]:
        self._ours.settimeout(max(0.001, timeout))
        try:
            text, handed, _, _ = socket.recv_fds(self._ours, _LARGEST_MESSAGE, 1)
        except ConnectionResetError:
            return {}, []
        return (json.loads(text) if text else {}), handed


def _end(message: Mapping[str, Any]) -> End:
    return End(message.get("status"), message.get("limit", ""))


def sandboxed(
    command: Sequence[str | Path], model: Path, address: Path, limits: Limits, control: int
) -> list[str]:
    """Return the command that runs a worker's command in a sandbox."""
    writable, hidden, readable = _folders(model)
    user = _user()
    plan = {
        "command": [str(part) for part in command],
        "model": str(model),
        "socket": str(address),
        "control": control,
        "user": user,
        "groups": sorted({device.stat().st_gid for device in _gpus()}),
        "devices": [str(device.relative_to("/dev")) for device in _gpus()],
        "hidden": hidden,
        "writable": writable,
        "readable": readable,
        "limits": asdict(limits) | {"storage": limits.storage or _storage(model)},
    }
    return [sys.executable, "-I", "-S", str(_PROGRAM), json.dumps(plan)]


def _storage(model: Path) -> int:
    sizes = (path.lstat().st_size for path in model.rglob("*"))
    return (1 << 30) + 3 * sum(sizes)


def _user() -> int:
    """Return the user that the worker runs as: nobody instead of root, if there is a nobody."""
    if os.geteuid() != 0:
        return os.geteuid()
    lines = Path("/proc/self/uid_map").read_text().splitlines()
    ranges = (tuple(map(int, line.split())) for line in lines)
    known = any(first <= _NOBODY < first + count for first, _, count in ranges)
    return _NOBODY if known else 0


def _folders(model: Path) -> tuple[list[str], list[str], list[str]]:
    """Return the folders that can be written, are empty, and can be read nevertheless."""
    home = Path.home().resolve()
    writable = [Path(one).resolve() for one in _WRITABLE if Path(one).is_dir()]
    writable += [home] if home != Path("/") else []
    writable += [model.parents[1]]
    readable = [path for path in dict.fromkeys(_code(home)) if path.is_dir()]
    hidden = {Path(one).resolve() for one in _HIDDEN if Path(one).is_dir()}
    hidden |= {closed for path in readable for closed in _closed(path)}
    hidden -= {*writable, Path("/")}
    return _texts(writable), _texts(sorted(hidden)), _texts(readable)


def _texts(paths: Sequence[Path]) -> list[str]:
    return [str(path) for path in paths]


def _code(home: Path) -> Iterator[Path]:
    """Yield the folders that Python and its libraries read, and caches of models."""
    yield from (Path(one).resolve() for one in (sys.prefix, sys.base_prefix))
    yield Path(sys.executable).resolve().parents[1]
    yield _PACKAGE
    # What was installed as editable stands on the path of modules.
    yield from (Path(one).resolve() for one in sys.path if one and Path(one) != Path.cwd())
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    yield from (Path(one).resolve() for one in (*libraries, _GRAPHICS) if one)
    for cache, parent, name, usual in _CACHES:
        if cache in os.environ:
            yield Path(os.environ[cache]).resolve()
        elif parent in os.environ:
            yield Path(os.environ[parent], name).resolve()
        else:
            yield home / usual


def _closed(path: Path) -> Iterator[Path]:
    """Yield the first folder above `path` that others than its owner may not pass.

    A folder in the sandbox takes its place, so that the user nobody reaches what is readable.
    """
    if os.geteuid() == 0:
        closed = [one for one in path.parents if not one.stat().st_mode & 0o001]
        yield from closed[-1:]


def _gpus() -> list[Path]:
    return [path for name in _DEVICES for path in sorted(Path("/dev").glob(name))]


def passed(limit: str) -> Finding:
    """Return why a worker was ended that passed a limit."""
    hint = "let the handler use less; or run it without limits, if you trust it: --no-sandbox"
    return Finding(_PASSED[limit], hint, rule="sandbox-limit")


def no_sandbox(missing: str) -> ServerError:
    """Return the error for a system that allows no sandbox."""
    message = f"this system allows no sandbox: {missing}"
    return ServerError(message, advice(missing), code="no-sandbox")


def advice(missing: str) -> str:
    """Return what lets the system allow a sandbox, judged by what it refuses."""
    for name, refused, change in (
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
        ("user/max_user_namespaces", "0", "10000"),
    ):
        try:
            value = (_SYSCTL / name).read_text().strip()
        except OSError:
            continue
        if value == refused:
            return f"let users make namespaces: sysctl {name.replace('/', '.')}={change}"
    if "nobody may not read" in missing:
        folder = missing.rpartition(": ")[2]
        return f"let others read it: chmod -R o+rX {folder}; or run as an ordinary user"
    options = "--security-opt seccomp=unconfined --security-opt systempaths=unconfined"
    return f"run it outside of a container, or in one started with {options}; or say --no-sandbox"
