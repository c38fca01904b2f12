"""The connection to a worker, in TorchServe's worker protocol."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

from marsmith.torchserve.worker_protocol import Message, MessageReader

_PAUSE = 0.005  # seconds between two looks for the worker's socket
_PEER = struct.Struct("3i")  # SO_PEERCRED: pid, user, group


class WorkerConnection(asyncio.Protocol):
    """Sends messages, calls `heard` for each answer, and `lost` once at the end."""

    def __init__(
        self,
        connection: socket.socket,
        heard: Callable[[Message], None],
        lost: Callable[[], None],
        after: str = "",
    ) -> None:
        """With `after`, what comes before the answer to that request is skipped."""
        self._socket = connection
        self._reader = MessageReader(after)
        self._heard = heard
        self._lost = lost
        self._transport: asyncio.Transport | None = None

    async def attach(self) -> None:
        """Begin to read."""
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self, sock=self._socket)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read messages; what is none ends the connection."""
        try:
            messages = self._reader.feed(data)
        except (ValueError, ArithmeticError, LookupError, struct.error):
            self.close()
            return
        for message in messages:
            self._heard(message)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """The worker has ended, or this connection was closed."""
        self._transport = None
        self._lost()

    def send(self, message: bytes) -> None:
        """Send a message."""
        if self._transport is not None:
            self._transport.write(message)

    def fileno(self) -> int:
        """Return the descriptor; -1 once it is closed."""
        return self._socket.fileno()

    @property
    def pid(self) -> int:
        """The process that listened."""
        peer = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        return int(_PEER.unpack(peer)[0])

    def close(self) -> None:
        """Close it, whoever else has it: then the worker ends."""
        if self._transport is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._transport.abort()


async def connected(address: Path, ended: asyncio.Future[int]) -> socket.socket:
    """Connect to a worker that will listen at `address`. Raises ConnectionError if it ended."""
    loop = asyncio.get_running_loop()
    connection = socket.socket(socket.AF_UNIX)
    connection.setblocking(False)
    try:
        while True:
            try:
                await loop.sock_connect(connection, str(address))
                return connection
            except OSError:
                if ended.done():
                    raise ConnectionError("the worker has ended") from None
                await asyncio.sleep(_PAUSE)
    except BaseException:
        connection.close()
        raise
