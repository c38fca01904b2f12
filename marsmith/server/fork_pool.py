"""The fork server: one process that has imported PyTorch, from which workers are forked.

TorchServe starts each worker as a Python process of its own (WorkerLifeCycle.java), and each
imports PyTorch again: seconds, and hundreds of megabytes that are not shared. So TorchServe is
given a script as its Python, which has the worker forked (programs/fork_server.py).
"""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from marsmith.core.processes import end_group
from marsmith.torchserve.devices import VISIBLE_DEVICES, front_end_devices

_PROGRAMS = Path(__file__).parents[1] / "programs"
_SHELL = Path("/bin/sh")
_FAREWELL = 2.0  # seconds to end; it gives its workers one second


def fork_server(folder: Path) -> ForkServer | None:
    """Prepare one in a server's folder; None if the system cannot, or runs no files there."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):  # not Linux, or an old one
        return None
    prepared = ForkServer(folder)
    return prepared if all(os.access(one, os.X_OK) for one in (_SHELL, prepared.python)) else None


def start_process(
    address: Path,
    owner: int,
    environment: Mapping[str, str],
    log: IO[bytes],
    *,
    light: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a fork server that listens at `address`, and ends with the process `owner`.

    A `light` one imports neither PyTorch nor TorchServe. Raises OSError.
    """
    address.unlink(missing_ok=True)
    # Workers that start before it is ready wait at the socket. They must not wait once it has
    # ended, so it is the only process that keeps the socket open.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        command: list[str | Path] = [sys.executable, _PROGRAMS / "fork_server.py"]
        return subprocess.Popen(  # noqa: S603
            [*command, str(listener.fileno()), str(owner), *["light"] * light],
            cwd=address.parent,
            env=environment,
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )


class ForkServer:
    """The process from which a server's workers are forked."""

    def __init__(self, folder: Path) -> None:
        """Write the script that TorchServe starts as its Python: the file `python`."""
        self._folder = folder
        self._address = folder / "fork.sock"
        self._process: subprocess.Popen[bytes] | None = None
        words = [sys.executable, "-IS", _PROGRAMS / "forked_worker.py", self._address]
        self.python = folder / "python"
        devices, _ = front_end_devices(os.environ)
        visible = "" if devices is None else f"export {VISIBLE_DEVICES}={shlex.quote(devices)}\n"
        command = shlex.join(map(str, [*words, sys.executable]))
        self.python.write_text(f'#!{_SHELL}\n{visible}exec {command} "$@"\n')
        self.python.chmod(0o700)

    def start(self, front_end: int, environment: Mapping[str, str], log: IO[bytes]) -> None:
        """Start it; it ends with the process `front_end`. Raises OSError.

        `log` gets warnings of imports, and why a worker could not be forked.
        """
        self._process = start_process(self._address, front_end, environment, log)

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended it."""
        return self._process is not None and (self._process.poll() or 0) < 0

    def stop(self) -> None:
        """End it and its workers; they have a second if the front end has just ended."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_FAREWELL)
            end_group(self._process.pid)
            self._process.wait()
            self._process = None
