"""Connections whose every read and write ends at the deadline of the call they serve.

httpx's timeouts hold for each read by itself: a server that sends a byte now and then would keep
a caller for ever. So the network streams below its connection pool ask how much time is left.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import httpcore
import httpx

from marsmith.client.retries import Deadline
from marsmith.client.workers_up import BLIND, Watch

_PIECE = 16_384  # bytes written under one timeout
# A call's thread does all its reading and writing itself, so this is the deadline of both.
_deadline: ContextVar[Deadline] = ContextVar("deadline")
_watch: ContextVar[Watch] = ContextVar("watch")


@contextmanager
def bounded_by(deadline: Deadline, watch: Watch = BLIND) -> Iterator[None]:
    """Let whatever this thread sends and receives meanwhile end at `deadline`.

    While nothing comes, `watch` is looked at; what it raises ends the waiting.
    """
    tokens = _deadline.set(deadline), _watch.set(watch)
    try:
        yield
    finally:
        _deadline.reset(tokens[0])
        _watch.reset(tokens[1])


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        watch, mine = _watch.get(), Deadline(timeout)
        while watch.patience < min(mine.left, _deadline.get().left):
            try:
                return self._stream.read(max_bytes, watch.patience)
            except httpcore.ReadTimeout:
                watch.look(min(mine.left, _deadline.get().left))
        return self._stream.read(max_bytes, _deadline.get().bounded(mine.bounded(None)))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            piece = buffer[start : start + _PIECE]
            self._stream.write(piece, _deadline.get().bounded(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        timeout = _deadline.get().bounded(timeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = _deadline.get().bounded(timeout)
        return _Stream(super().connect_tcp(host, port, timeout, local_address, socket_options))


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        return self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


class Transport(httpx.BaseTransport):
    """httpx's way to httpcore, with streams of our own. What goes wrong is httpcore's exception."""

    def __init__(self, ssl_context: ssl.SSLContext) -> None:
        # Callers bound how many they make at once; idle connections are dropped before a server
        # that closes them after a minute can do so under a request.
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context,
            max_connections=None,
            max_keepalive_connections=64,
            keepalive_expiry=5.0,
            network_backend=_Backend(),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its response, whose body is still to be read."""
        response = self._pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions=response.extensions,
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()
