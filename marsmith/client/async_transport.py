"""Connections of the gateway to TorchServe, on asyncio.

A general client's pool costs more for a request than TorchServe's front end itself, so this is as
little as HTTP/1.1 allows: one protocol object a connection, and no timers. Who asks bounds the
waiting, with `Exchange.fail`.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from typing import cast

from marsmith.answers.messages import Response
from marsmith.client.http1 import LostError, NotConnectedError, NotHttpError, Place, ResponseReader

_CONNECTING = 5.0  # seconds
_IDLE = 5.0  # seconds that an idle connection is kept, as in transport.py
_MOST_AHEAD = 1 << 20  # bytes of an answer in parts that nobody has taken yet


class Exchange:
    """One request, and its answer as it arrives."""

    def __init__(self) -> None:
        self.reader = ResponseReader()
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._more = asyncio.Event()
        self._failure: Exception | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.reader.complete or self._failure is not None

    def advance(self) -> None:
        """Tell who waits that more has come."""
        reader = self.reader
        ready = reader.complete or (reader.status and reader.in_parts)
        if ready and not self.begun.done():
            self.begun.set_result(None)
        self._more.set()

    def fail(self, error: Exception) -> None:
        """End the waiting with an error."""
        self._failure = self._failure or error
        if not self.begun.done():
            self.begun.set_exception(error)
            self.begun.exception()  # nobody may wait yet, or any more
        self._more.set()

    async def more(self) -> bytes:
        """Return what has come of the body, and wait for it; nothing at its end."""
        while not (part := self.reader.taken()) and not self.reader.complete:
            if self._failure is not None:
                raise self._failure
            self._more.clear()
            await self._more.wait()
        return part


class _Connection(asyncio.Protocol):
    """One connection, for one request at a time."""

    def __init__(self, idle: list[_Connection]) -> None:
        self._idle = idle
        self._exchange: Exchange | None = None
        self._ahead = 0
        self.transport: asyncio.Transport
        self.since = 0.0

    def ask(self, head: bytes, body: bytes, exchange: Exchange) -> None:
        self._exchange = exchange
        if body:
            self.transport.writelines((head, body))
        else:
            self.transport.write(head)

    def release(self) -> None:
        """Let another request have it, or close it."""
        exchange, self._exchange = self._exchange, None
        usable = exchange is not None and exchange.reader.complete and exchange.reader.reusable
        if usable and not self.transport.is_closing():
            self.since = time.monotonic()
            self._idle.append(self)
        else:
            self.transport.abort()

    def taken(self) -> None:
        """Go on reading: what came so far was taken."""
        if self._ahead > _MOST_AHEAD and not self.transport.is_closing():
            self.transport.resume_reading()
        self._ahead = 0

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # asyncio and uvloop set TCP_NODELAY

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:  # nobody asked
            self.transport.abort()
            return
        try:
            exchange.reader.feed(data)
        except NotHttpError as error:
            exchange.fail(error)
            self.transport.abort()
            return
        exchange.advance()
        if exchange.reader.in_parts and not exchange.reader.complete:
            self._ahead += len(data)
            if self._ahead > _MOST_AHEAD:
                self.transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self in self._idle:
            self._idle.remove(self)
        if (exchange := self._exchange) is not None and not exchange.over:
            try:
                exchange.reader.end()
            except LostError as lost:
                reason = getattr(error, "strerror", None) or str(error or lost)
                exchange.fail(LostError(reason))
            else:
                exchange.advance()


class AsyncTransport:
    """Sends requests to one server; its connections are kept and used again."""

    def __init__(self, place: Place, trust: ssl.SSLContext) -> None:
        self.place = place
        self._trust = trust if place.tls else None
        self._idle: list[_Connection] = []

    async def send(self, head: bytes, body: bytes, exchange: Exchange) -> Arriving:
        """Send a request; returns once its answer is complete, or its first part is there.

        Raises NotConnectedError, LostError, NotHttpError, ssl.SSLCertVerificationError, and what
        `exchange.fail` was given.
        """
        connection = self._idle.pop() if self._idle else await self._connected()
        try:
            connection.ask(head, body, exchange)
            await exchange.begun
        except BaseException:
            connection.release()
            raise
        if exchange.reader.complete:
            connection.release()
            return Arriving(exchange.reader.response, None)
        return Arriving(exchange.reader.response, _rest(connection, exchange))

    def drop_idle(self) -> None:
        """Close what was idle for long."""
        now = time.monotonic()
        for connection in [one for one in self._idle if now - one.since > _IDLE]:
            connection.transport.abort()

    def close(self) -> None:
        """Close all idle connections."""
        for connection in tuple(self._idle):
            connection.transport.abort()

    async def _connected(self) -> _Connection:
        loop, place = asyncio.get_running_loop(), self.place
        name = place.host if place.tls else None
        connecting = loop.create_connection(
            lambda: _Connection(self._idle),
            place.host,
            place.port,
            ssl=self._trust,
            server_hostname=name,
        )
        try:
            _, connection = await asyncio.wait_for(connecting, _CONNECTING)
        except ssl.SSLCertVerificationError:
            raise
        except (OSError, asyncio.TimeoutError) as error:
            raise NotConnectedError(getattr(error, "strerror", None) or "it is too slow") from error
        return connection


class Arriving:
    """An answer: whole, or its first part and an iterator of the others."""

    __slots__ = ("response", "rest")

    def __init__(self, response: Response, rest: AsyncIterator[bytes] | None) -> None:
        self.response = response
        self.rest = rest


async def _rest(connection: _Connection, exchange: Exchange) -> AsyncIterator[bytes]:
    try:
        while part := await exchange.more():
            connection.taken()
            yield part
    finally:
        connection.release()
