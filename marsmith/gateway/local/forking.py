"""Starts processes of workers: forked from a process with its imports done, or by themselves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from marsmith.core.private_files import open_private
from marsmith.core.processes import end_group
from marsmith.server.fork_pool import start_process
from marsmith.server.process import FORK_LOG
from marsmith.torchserve.environment import clean_environment

_PATIENCE = 60.0  # seconds for a fork server to have imported PyTorch
_SIGNALLED = 128  # a status above it is a signal's number more


@dataclass(frozen=True)
class Streams:
    """The ends of a new process's streams: what it gets, and what we read."""

    given: tuple[int, int, int]
    stdout: int
    stderr: int

    @classmethod
    def make(cls) -> Streams:
        """Open them."""
        (out, out_theirs), (err, err_theirs) = os.pipe(), os.pipe()
        return cls((os.open(os.devnull, os.O_RDONLY), out_theirs, err_theirs), out, err)

    def close_given(self) -> None:
        """Close what the process has by now."""
        for one in self.given:
            os.close(one)

    def close(self) -> None:
        """Close all of them."""
        self.close_given()
        os.close(self.stdout)
        os.close(self.stderr)


class Lifeline:
    """A connection to the fork server that stands for a worker: closed here, the worker is killed.

    The fork server sends the worker's exit status.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        connection.setblocking(False)
        self._loop.add_reader(connection.fileno(), self._read)

    def fileno(self) -> int:
        """Return the descriptor, which whoever keeps the worker must have, too."""
        return self._connection.fileno()

    def _read(self) -> None:
        status = 1  # the fork server was killed, and the worker with it
        with suppress(BlockingIOError, ConnectionError):
            status = (self._connection.recv(1) or b"\1")[0]
        self._end(_SIGNALLED - status if status > _SIGNALLED else status)

    def _end(self, status: int) -> None:
        self._loop.remove_reader(self._connection.fileno())
        self._connection.close()
        if not self.ended.done():
            self.ended.set_result(status)

    def kill(self) -> None:
        """Let the fork server kill it; whoever else holds this connection need not close it."""
        if self._connection.fileno() >= 0:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)


class Child:
    """A worker that is this process's own child."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self._loop.run_in_executor(None, process.wait).add_done_callback(self._end)

    def _end(self, waited: asyncio.Future[int]) -> None:
        if not self.ended.done() and not waited.cancelled():
            self.ended.set_result(waited.result())

    def fileno(self) -> int:
        """Return -1: nobody can keep it."""
        return -1

    def kill(self) -> None:
        """Kill it."""
        with suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)


class ForkServers:
    """The fork servers of a gateway, each started when the first worker needs it."""

    def __init__(self, folder: Path, log_folder: Path, owner: int) -> None:
        """They listen in `folder`, and end with the process `owner`."""
        self._folder = folder
        self._log = log_folder / FORK_LOG
        self._owner = owner
        self._starting = asyncio.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []

    async def start(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        streams: Streams,
        *,
        light: bool,
    ) -> Lifeline | Child:
        """Start Python with arguments. Raises OSError if there can be no more processes."""
        try:
            if not hasattr(os, "pidfd_open"):  # not Linux
                raise ConnectionError
            connection = await self._connected(light)
            try:
                await asyncio.wait_for(
                    _ask(connection, arguments, folder, environment, streams), _PATIENCE
                )
            except BaseException:
                connection.close()
                raise
            return Lifeline(connection)
        except (OSError, asyncio.TimeoutError):
            return Child(
                subprocess.Popen(  # noqa: S603
                    [sys.executable, *arguments],
                    cwd=folder,
                    env=environment,
                    stdin=streams.given[0],
                    stdout=streams.given[1],
                    stderr=streams.given[2],
                    start_new_session=True,
                )
            )

    def stop(self) -> None:
        """End those that were started here, and their workers."""
        for process in self._processes:
            end_group(process.pid, patience=0.0)
            process.wait()

    async def _connected(self, light: bool) -> socket.socket:
        """Connect to a fork server, which is started if there is none. Raises OSError."""
        address = self._folder / ("fork-light.sock" if light else "fork.sock")
        async with self._starting:
            with suppress(OSError):
                return await _connect(address)
            environment = clean_environment(os.environ, self._folder)
            with open_private(self._log) as log:
                process = start_process(address, self._owner, environment, log, light=light)
            self._processes.append(process)
            return await _connect(address)


async def _connect(address: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, str(address))
    except BaseException:
        connection.close()
        raise
    return connection


async def _ask(
    connection: socket.socket,
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    streams: Streams,
) -> None:
    """Have a worker forked. Raises OSError if it was not."""
    asked = {
        "arguments": [*arguments],
        "folder": str(folder),
        "environment": {**environment},
    }
    request = json.dumps(asked).encode()
    socket.send_fds(connection, [len(request).to_bytes(4, "big")], streams.given)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, request)
    if not await loop.sock_recv(connection, 1):
        raise ConnectionError("the fork server did not fork it")
