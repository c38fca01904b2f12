"""A worker in a process of its own, started as the front end starts one (WorkerLifeCycle.java)."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

from marsmith.core.processes import end_children_of, end_group
from marsmith.worker.command import PROGRAMS, worker_arguments, worker_environment
from marsmith.worker.sandbox import Control, End, Limits, sandboxed

LOG_FILE = "worker.log"  # what the worker and its handler print, beside models/
_LARGEST_PART = 1 << 20  # bytes; fewer may come than were announced
_MOMENT = 0.5  # seconds
_ASK_WHERE = signal.SIGUSR2  # a watched worker prints then where it is
_PAUSE = 0.01  # seconds between two looks for the worker's socket


class WorkerGoneError(Exception):
    """The worker ended, or did not answer in time; what was sent has no answer."""


class WorkerLateError(WorkerGoneError):
    """It lives, but let its time pass."""


class WorkerProcess:
    """A process that runs TorchServe's worker or the light one, and the socket to it."""

    def __init__(
        self,
        model: Path,
        timeout: float,
        notes: Path | None = None,
        *,
        torchserve: bool = True,
        limits: Limits | None = None,
    ) -> None:
        """Start it for the archive unpacked at `model`, `FOLDER/models/…`; timeout in seconds.

        With `notes`, it is watched, and what programs/watched_worker.py sees is written there. With
        `limits`, it runs in a sandbox. Raises SandboxMissingError if the system allows none.
        """
        self._folder = model.parents[1]
        self._timeout = timeout
        self._log = self._folder / LOG_FILE
        self._address = self._folder / ".ts.sock.9000"
        self._control = Control() if limits else None
        self._socket: socket.socket | None = None
        with ExitStack() as stack:
            log = stack.enter_context(self._log.open("wb"))
            inherited = [stack.enter_context(notes.open("ab")).fileno()] if notes else []
            watch = (PROGRAMS / "watched_worker.py", str(inherited[0])) if notes else ()
            arguments = worker_arguments(self._address, torchserve=torchserve)
            command: list[str | Path] = [sys.executable, *watch, *arguments]
            if self._control and limits:
                theirs = self._control.theirs.fileno()
                inherited.append(theirs)
                command = [*sandboxed(command, model, self._address, limits, theirs)]
            environment = worker_environment(model, without_caches=notes is not None)
            self.process = self._started(command, model, environment, log, inherited)
        try:
            self._socket = self._connected()
        except BaseException:
            self.stop()
            raise

    def _started(
        self,
        command: list[str | Path],
        model: Path,
        environment: Mapping[str, str],
        log: BinaryIO,
        inherited: list[int],
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(  # noqa: S603
                command,
                cwd=model,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=inherited,
                start_new_session=True,  # a terminal's Ctrl-C is for us; and one group to end
            )
        except BaseException:  # Ctrl-C may come when the process is there, and its id is not yet
            time.sleep(_MOMENT)
            end_children_of(self._folder)
            raise

    def _connected(self) -> socket.socket:
        """Return the connection to the worker. Raises WorkerGoneError, SandboxMissingError."""
        if not self._control:
            return self._connect()
        self._control.theirs.close()
        try:
            connection = self._control.connection(self._timeout)
        except TimeoutError:
            raise WorkerLateError from None
        if connection is None:
            raise WorkerGoneError
        return connection

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                connection.connect(str(self._address))
                return connection
            except OSError:
                late = time.monotonic() > deadline
                if late or self.process.poll() is not None:
                    connection.close()
                    raise (WorkerLateError if late else WorkerGoneError) from None
                time.sleep(_PAUSE)

    def send(self, message: bytes) -> None:
        """Send a message of the front end's. Raises WorkerGoneError."""
        if not self._socket:
            raise WorkerGoneError
        self._deadline = time.monotonic() + self._timeout
        try:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(message)
        except TimeoutError as error:
            raise WorkerLateError from error
        except OSError as error:
            raise WorkerGoneError from error

    def read(self, size: int) -> bytes:
        """Return exactly so many bytes of the answer. Raises WorkerGoneError."""
        if not self._socket:
            raise WorkerGoneError
        found = bytearray()
        while len(found) < size:
            try:
                self._socket.settimeout(max(0.001, self._deadline - time.monotonic()))
                part = self._socket.recv(min(size - len(found), _LARGEST_PART))
            except TimeoutError as error:
                raise WorkerLateError from error
            except OSError as error:
                raise WorkerGoneError from error
            if not part:
                raise WorkerGoneError
            found += part
        return bytes(found)

    @property
    def pid(self) -> int:
        """The process id of the worker; within a sandbox it is not the process started here."""
        if not self._control or not self._socket:
            return self.process.pid
        size = struct.calcsize("3i")
        peer = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        return int(struct.unpack("3i", peer)[0])

    @property
    def end(self) -> End:
        """How it ended, if it did; a status below 0 is that of a signal."""
        if self._control:
            return self._control.end(_MOMENT)
        try:
            return End(self.process.wait(_MOMENT))  # its socket closes before it is gone
        except subprocess.TimeoutExpired:
            return End()

    def ask_where(self) -> None:
        """Let the worker print where it is, if it is watched; others end."""
        with suppress(OSError):
            os.kill(self.pid, _ASK_WHERE)
            time.sleep(_MOMENT)

    @property
    def logged(self) -> int:
        """How many bytes it printed and logged."""
        return self._log.stat().st_size

    def log(self, start: int = 0) -> str:
        """Return what the worker and its handler printed and logged after so many bytes."""
        with self._log.open("rb") as file:
            file.seek(start)
            return file.read().decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")

    def stop(self) -> None:
        """End the worker and whatever it started."""
        if self._socket:
            self._socket.close()
        if self._control:
            self._control.close()
        end_group(self.process.pid, patience=0.5)
        self.process.wait()
        if not self._control:
            end_children_of(self._folder)
