"""Starts processes of workers: forked from a process with its imports done, or by themselves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from marsmith.core.private_files import open_private
from marsmith.core.processes import end_group
from marsmith.server.fork_pool import start_process
from marsmith.server.process import FORK_LOG
from marsmith.torchserve.environment import clean_environment

_PATIENCE = 60.0  # seconds for a fork server to have imported PyTorch
_SIGNALLED = 128  # a status above it is a signal's number more
_KILLED = bytes([_SIGNALLED + signal.SIGKILL])  # by us, or with the fork server


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
        try:
            status = (self._connection.recv(1) or _KILLED)[0]
        except BlockingIOError:
            return
        except OSError:
            status = _KILLED[0]
        self._loop.remove_reader(self._connection.fileno())
        self._connection.close()
        if not self.ended.done():
            self.ended.set_result(_SIGNALLED - status if status > _SIGNALLED else status)

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
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        status = self._process.wait()
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self.ended.set_result, status)

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
        *,
        light: bool,
    ) -> tuple[Lifeline | Child, int, int]:
        """Start Python with arguments; return it, and pipes of its standard output and error.

        Raises OSError if there can be no more processes.
        """
        (out, out_given), (err, err_given) = os.pipe(), os.pipe()
        streams = (os.open(os.devnull, os.O_RDONLY), out_given, err_given)
        asked = {"arguments": [*arguments], "folder": str(folder), "environment": {**environment}}
        process: Lifeline | Child
        try:
            try:
                process = Lifeline(await self._forked(json.dumps(asked).encode(), streams, light))
            except (OSError, asyncio.TimeoutError):
                process = Child(_popen(arguments, folder, environment, streams))
        except BaseException:
            os.close(out)
            os.close(err)
            raise
        finally:
            for one in streams:
                os.close(one)
        return process, out, err

    def stop(self) -> None:
        """End those that were started here, and their workers."""
        for process in self._processes:
            end_group(process.pid, patience=0.0)
            process.wait()

    async def _forked(
        self, request: bytes, streams: tuple[int, int, int], light: bool
    ) -> socket.socket:
        """Have a worker forked, and return the connection that stands for it. Raises OSError."""
        if not hasattr(os, "pidfd_open"):  # not Linux
            raise ConnectionError("there are no fork servers here")
        loop = asyncio.get_running_loop()
        connection = await self._connected(light)
        try:
            socket.send_fds(connection, [len(request).to_bytes(4, "big")], streams)
            await loop.sock_sendall(connection, request)
            if not await asyncio.wait_for(loop.sock_recv(connection, 1), _PATIENCE):
                raise ConnectionError("the fork server did not fork it")
            return connection
        except BaseException:
            connection.close()
            raise

    async def _connected(self, light: bool) -> socket.socket:
        """Connect to a fork server, which is started if there is none. Raises OSError."""
        address = self._folder / ("fork-light.sock" if light else "fork.sock")
        async with self._starting:
            with suppress(OSError):
                return await connected(address)
            environment = clean_environment(os.environ, self._folder)
            with open_private(self._log) as log:
                process = start_process(address, self._owner, environment, log, light=light)
            self._processes.append(process)
            return await connected(address)


def _popen(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    streams: tuple[int, int, int],
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        stdin=streams[0],
        stdout=streams[1],
        stderr=streams[2],
        start_new_session=True,
    )


async def connected(address: Path) -> socket.socket:
    """Connect to a Unix socket. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX)
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, str(address))
    except BaseException:
        connection.close()
        raise
    return connection
