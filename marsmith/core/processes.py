"""Processes of this machine: identify them, and end a whole group."""

from __future__ import annotations

import os
import platform
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

_IDLE_WORKER = 1.0  # seconds for a worker that is not busy to end


def identity(pid: int) -> tuple[int, float]:
    """Return the pid and start time, which differ from a later process with the same pid."""
    return pid, _start_time(pid)


def this_system() -> str:
    """Return where process ids mean what they mean here: this boot and this PID namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # not Linux
        return f"{platform.node()}/{int(psutil.boot_time())}"


def lives(known: tuple[int, float]) -> bool:
    """Return whether the process of that identity still runs."""
    pid, started = known
    try:
        same = _start_time(pid) == started
        return same and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ValueError):
        return False


def _start_time(pid: int) -> float:
    """Return when a process started, by a clock that cannot be set.

    psutil counts from the epoch, so its answer changes with the system's clock.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return psutil.Process(pid).create_time()
    return float(stat.rpartition(")")[2].split()[19])  # proc(5): starttime, in ticks since boot


def have_ended(processes: Iterable[psutil.Process], patience: float) -> bool:
    """Wait up to `patience` seconds for processes to end; return whether they have.

    Zombies count as ended: pid 1 of a container may never reap them.
    """
    deadline = time.monotonic() + patience
    left = list(processes)
    while left := [process for process in left if not _has_ended(process)]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def end_group(leader: int, patience: float = 10.0) -> None:
    """Ask a process to end, wait up to `patience` seconds, then kill the rest of its group."""
    members = _group(leader)
    for process in members:
        if process.pid == leader:
            _signal(process, signal.SIGTERM)
            have_ended([process], patience)
    left = {*members, *_group(leader)}
    for process in left:
        _signal(process, signal.SIGKILL)
    have_ended(left, patience)


def end_server(leader: int, patience: float = 10.0) -> None:
    """End a TorchServe and all of its group; its front end has `patience` seconds to close.

    It closes its ports and all connections at once, and then waits some seconds for nothing
    (ServerGroups.java); so it is killed once its ports are closed. Its workers then end by
    themselves.
    """
    deadline = time.monotonic() + patience
    for process in _group(leader):
        if process.pid == leader:
            _signal(process, signal.SIGTERM)
            while _listens(process) and time.monotonic() < deadline:
                time.sleep(0.02)
            _signal(process, signal.SIGKILL)
    have_ended(_group(leader), _IDLE_WORKER)
    end_group(leader, patience)


def _listens(process: psutil.Process) -> bool:
    try:
        connections = process.net_connections("tcp")
    except psutil.Error:
        return False  # ended
    return any(one.status == psutil.CONN_LISTEN for one in connections)


def end_own() -> bool:
    """Kill all descendants of this process; return whether there were any."""
    found = [one for one in psutil.Process().children(recursive=True) if not _has_ended(one)]
    for process in found:
        _signal(process, signal.SIGKILL)
    have_ended(found, 10)
    return bool(found)


def end_children_of(folder: Path) -> None:
    """Kill processes that left a server's or worker's group, found by its temporary folder."""
    found = children_of(folder)
    for process in found:
        _signal(process, signal.SIGKILL)
    have_ended(found, 10)


def children_of(folder: Path) -> list[psutil.Process]:
    """Return the processes of a server or worker, found by its temporary folder."""
    return [one for one in psutil.process_iter() if _temporary_folder(one) == folder]


def uses(pid: int, folder: Path) -> bool:
    """Say whether a process has a folder open, or works in it. Elsewhere than on Linux, True."""
    if not Path("/proc/self/fd").exists():
        return True
    try:
        links = [Path(f"/proc/{pid}/cwd"), *Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:  # ended, or another user's
        return False
    for link in links:
        with suppress(OSError):  # closed since
            if link.readlink() == folder:
                return True
    return False


def _temporary_folder(process: psutil.Process) -> Path | None:
    try:
        return Path(process.environ().get("TMPDIR", ""))
    except psutil.Error:
        return None  # ended, or another user's


def _group(leader: int) -> list[psutil.Process]:
    """Return the living processes of a process group."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == leader:
                found.append(process)
        except ProcessLookupError:
            continue
    return found


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return  # ended, or another user's


def resident_memory(pid: int) -> int:
    """Return the resident memory of a process in bytes, 0 if it has ended.

    TorchServe reports pid -1 for a worker that is starting.
    """
    if pid < 0:
        return 0
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
