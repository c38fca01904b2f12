"""Run a worker in a sandbox of Linux namespaces: `python -I -S sandboxed.py PLAN`.

PLAN is JSON (worker/sandbox.py writes it). Three processes: this one enters new namespaces, its
child is their first process and stays the only one with rights in them, and that one's child
becomes the worker, without any. When the first process ends, the kernel ends all others.

What happens is told through the socket PLAN["control"], a JSON object each: {"missing": why} if
the system allows no sandbox, {"connected": true} with the connection to the worker, and at the end
{"status": exit status, "limit": the limit that it passed}.
"""

from __future__ import annotations

import array
import fcntl
import json
import os
import resource
import select
import signal
import socket
import stat
import struct
import sys
import time
from pathlib import Path
from typing import Any

# In isolated mode, which starts soonest, Python does not look for the package.
sys.path.append(str(Path(__file__).parents[2]))
from marsmith.programs import sandboxed_files as files
from marsmith.programs import sandboxed_kernel as kernel

_TICK = 0.05  # seconds between two looks at what is used
_TICK_TO_CONNECT = 0.01
_UP = 0x1  # IFF_UP
_GET_FLAGS, _SET_FLAGS = 0x8913, 0x8914  # SIOCGIFFLAGS, SIOCSIFFLAGS


def main() -> None:
    """Enter the namespaces; end when their first process has ended."""
    plan = json.loads(sys.argv[1])
    control = socket.socket(fileno=plan["control"])
    control.set_inheritable(False)
    try:
        if os.geteuid() == 0:
            os.setgroups(plan["groups"])
        kernel.enter_namespaces(os.geteuid(), os.getegid(), plan["user"])
        first = os.fork()
    except OSError as error:
        _tell(control, missing=kernel.told(error))
        os._exit(1)
    if first:
        control.close()
        os.waitpid(first, 0)
        os._exit(0)
    kernel.die_with_parent()
    os._exit(_first_process(control, plan))


def _first_process(control: socket.socket, plan: dict[str, Any]) -> int:
    try:
        files.arrange(plan)
        _bring_up_loopback()
        kernel.forbid_new_namespaces()
        worker = _start_worker(plan)
    except OSError as error:
        _tell(control, missing=kernel.told(error))
        return 1
    kernel.hide_from_others()
    try:
        _watch(control, plan, worker)
    except OSError:  # the one who listens has gone
        return 1
    return 0


def _bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        (flags,) = struct.unpack_from("H", fcntl.ioctl(one, _GET_FLAGS, request), 16)
        fcntl.ioctl(one, _SET_FLAGS, struct.pack("16sH14s", b"lo", flags | _UP, b""))


def _start_worker(plan: dict[str, Any]) -> int:
    """Return the worker's process id. Raises OSError if it cannot be started."""
    reader, writer = os.pipe()
    worker = os.fork()
    if not worker:
        try:
            kernel.give_up_rights(plan["user"])
            os.chdir(plan["model"])
            _check_readable(plan)
            _limit(plan["limits"])
            os.execv(plan["command"][0], plan["command"])  # noqa: S606 - that is its task
        except OSError as error:
            os.write(writer, kernel.told(error).encode())
        os._exit(1)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as failed:
        if told := failed.read():
            raise OSError(0, told)
    return worker


def _check_readable(plan: dict[str, Any]) -> None:
    """Raise PermissionError if the worker's user cannot read what it runs."""
    for folder in plan["readable"]:
        if not os.access(folder, os.R_OK | os.X_OK):
            raise PermissionError(13, f"the user nobody may not read it: {folder}")


def _limit(limits: dict[str, int]) -> None:
    for key, wanted in (
        (resource.RLIMIT_DATA, limits["data"]),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_NOFILE, limits["files"]),
        (resource.RLIMIT_FSIZE, limits["storage"]),
        (resource.RLIMIT_CPU, limits["cpu"]),
        (resource.RLIMIT_CORE, 0),
    ):
        most = resource.getrlimit(key)[1]
        value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(key, (value, value))


def _watch(control: socket.socket, plan: dict[str, Any], worker: int) -> None:
    """Connect to the worker, then wait for its end, for that of a limit, or for our caller's."""
    limits, address, connected = plan["limits"], plan["socket"], False
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(os.pidfd_open(worker), select.POLLIN)
    looked = 0.0
    while True:
        happened = dict(poll.poll(1000 * (_TICK if connected else _TICK_TO_CONNECT)))
        if control.fileno() in happened:  # closed: our caller has stopped, or died
            return
        if (status := _reap(worker)) is not None:
            _tell(control, status=status)
            return
        connected = connected or _connect(control, address)
        if time.monotonic() - looked >= _TICK:
            if passed := _passed(limits):
                _tell(control, limit=passed)
                return
            looked = time.monotonic()


def _reap(worker: int) -> int | None:
    """Return the worker's exit status if it has ended; take in all others that have."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if not pid:
            return None
        if pid == worker:
            return os.waitstatus_to_exitcode(status)


def _connect(control: socket.socket, address: str) -> bool:
    """Connect to the worker once it listens, and hand the connection on."""
    try:
        if not stat.S_ISSOCK(os.lstat(address).st_mode):
            return False
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_TICK)
            connection.connect(address)
            connection.setblocking(True)
            handed = array.array("i", [connection.fileno()])
            told = json.dumps({"connected": True}).encode()
            control.sendmsg([told], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, handed)])
            return True
    except (FileNotFoundError, ConnectionRefusedError, TimeoutError):
        return False


def _passed(limits: dict[str, int]) -> str:
    """Return the limit that all processes together have passed, if any."""
    if _resident_memory() > limits["memory"]:
        return "memory"
    return "log" if os.fstat(1).st_size > limits["log"] else ""


def _resident_memory() -> int:
    pages = 0
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and process.name != "1":
            try:
                resident, shared = map(int, (process / "statm").read_text().split()[1:3])
            except (OSError, ValueError):  # it has just ended
                continue
            pages += resident - shared
    used = os.statvfs("/tmp")  # noqa: S108 - of the sandbox: files there take memory as well
    return pages * resource.getpagesize() + (used.f_blocks - used.f_bfree) * used.f_frsize


def _tell(control: socket.socket, **values: Any) -> None:
    try:
        control.send(json.dumps(values).encode())
    except OSError:
        os._exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # our caller ends it by closing the socket
    main()
