"""Processes of this machine: which one is which, and how to end a whole group of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

_FAREWELL = 1.0  # seconds for a worker that is not busy to end


def identity(pid: int) -> tuple[int, float]:
    """Return what tells this process from a later one with the same pid."""
    return pid, _start_time(pid)


def lives(known: tuple[int, float]) -> bool:
    """Say whether the process of that identity still runs."""
    pid, started = known
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


def have_ended(processes: Iterable[psutil.Process], patience: float) -> bool:
    """Wait up to `patience` seconds for processes to end; say whether they have.

    What has ended and was not waited for by its parent (pid 1 of a container may never) has ended.
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
    """Ask a process to end, wait up to `patience` seconds, then end what is left of its group."""
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

    Told to stop, it closes its ports and every connection at once, and only then waits for some
    seconds, for what can no longer come (ServerGroups.java); so it is not waited for. Its workers
    end by themselves when it is gone.
    """
    deadline = time.monotonic() + patience
    for process in _group(leader):
        if process.pid == leader:
            _signal(process, signal.SIGTERM)
            while _listens(process) and time.monotonic() < deadline:
                time.sleep(0.02)
            _signal(process, signal.SIGKILL)
    have_ended(_group(leader), _FAREWELL)
    end_group(leader, patience)


def _listens(process: psutil.Process) -> bool:
    try:
        connections = process.net_connections("tcp")
    except psutil.Error:
        return False  # gone
    return any(one.status == psutil.CONN_LISTEN for one in connections)


def end_own() -> bool:
    """End the processes that this one started, and what they started; say if there were any."""
    found = [one for one in psutil.Process().children(recursive=True) if not _has_ended(one)]
    for process in found:
        _signal(process, signal.SIGKILL)
    have_ended(found, 10)
    return bool(found)


def end_children_of(folder: Path) -> None:
    """End the processes that left a server's or worker's group, but have its temporary folder."""
    found = [process for process in psutil.process_iter() if _temporary_folder(process) == folder]
    for process in found:
        _signal(process, signal.SIGKILL)
    have_ended(found, 10)


def _temporary_folder(process: psutil.Process) -> Path | None:
    try:
        return Path(process.environ().get("TMPDIR", ""))
    except psutil.Error:
        return None  # gone, or another user's


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
        return  # gone, or another user's


def resident_memory(pid: int) -> int:
    """Return the bytes that a process of this machine holds in memory, 0 if it is gone.

    TorchServe says -1 of a worker that is only starting.
    """
    if pid < 0:
        return 0
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
