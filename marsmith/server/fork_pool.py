"""Workers that are forked from one process, which has imported PyTorch before: the kit's part.

TorchServe starts each worker as a Python of its own (WorkerLifeCycle.java), and each imports
PyTorch anew: seconds, and hundreds of megabytes that it shares with nobody. It is told of another
Python instead, a script that has the worker forked (programs/fork_server.py).
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

_PROGRAMS = Path(__file__).parents[1] / "programs"
_SHELL = Path("/bin/sh")
_FAREWELL = 2.0  # seconds; it gives workers one of them


def fork_server(folder: Path) -> ForkServer | None:
    """Prepare one in a server's folder. None: this system cannot, or runs no files from there."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):  # not Linux, or an old one
        return None
    prepared = ForkServer(folder)
    return prepared if all(os.access(one, os.X_OK) for one in (_SHELL, prepared.python)) else None


class ForkServer:
    """The process that a server's workers are forked from."""

    def __init__(self, folder: Path) -> None:
        """Write what TorchServe is to start instead of Python: the file `python`."""
        self._folder = folder
        self._address = folder / "fork.sock"
        self._process: subprocess.Popen[bytes] | None = None
        words = [sys.executable, "-IS", _PROGRAMS / "forked_worker.py", self._address]
        self.python = folder / "python"
        self.python.write_text(
            f'#!{_SHELL}\nexec {shlex.join(map(str, [*words, sys.executable]))} "$@"\n'
        )
        self.python.chmod(0o700)

    def start(self, front_end: int, environment: Mapping[str, str], log: IO[bytes]) -> None:
        """Start it beside the process `front_end`, with which it ends. Raises OSError.

        `log` gets what importing warns of, and why a worker could not be forked.
        """
        self._address.unlink(missing_ok=True)
        # Workers that come before it is ready wait at the socket. Once it is gone they must not,
        # so that it alone keeps the socket open.
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self._address))
            listener.listen()
            command: list[str | Path] = [sys.executable, _PROGRAMS / "fork_server.py"]
            self._process = subprocess.Popen(  # noqa: S603
                [*command, str(listener.fileno()), str(front_end)],
                cwd=self._folder,
                env=environment,
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    @property
    def was_killed(self) -> bool:
        """Whether it has ended, and not by its own will."""
        return self._process is not None and (self._process.poll() or 0) < 0

    def stop(self) -> None:
        """End it, and the workers with it; they have a second if the front end has just ended."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_FAREWELL)
            end_group(self._process.pid)
            self._process.wait()
            self._process = None
