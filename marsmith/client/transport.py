"""Connections: every read and write ends at the deadline of the call.

httpx's timeouts hold for each read by itself: with a server that sends a byte now and then, a call
would never end. httpcore hands the timeout of a request to its network streams as it is. So the
timeout carries the deadline of the call, and the streams below the connection pool keep to it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator

import httpcore
import httpx

from marsmith.client.retries import Deadline
from marsmith.client.workers_up import WorkerCheck

_PIECE = 16_384  # bytes written under one timeout


class CallTimeout(float):
    """Seconds for one read or write of a call, which also ends at the deadline of the call.

    While no answer comes, `check` is looked at; what it raises ends the waiting.
    """

    deadline: Deadline
    check: WorkerCheck | None

    @classmethod
    def of(cls, seconds: float, deadline: Deadline, check: WorkerCheck | None) -> CallTimeout:
        """Return the timeout of all reads and writes of one call."""
        timeout = cls(seconds)
        timeout.deadline, timeout.check = deadline, check
        return timeout


def _bounded(timeout: float | None) -> float | None:
    return timeout.deadline.bounded(timeout) if isinstance(timeout, CallTimeout) else timeout


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        check = timeout.check if isinstance(timeout, CallTimeout) else None
        read = Deadline(_bounded(timeout))
        while check is not None and check.pause < read.left:
            try:
                return self._stream.read(max_bytes, check.pause)
            except httpcore.ReadTimeout:
                check.look()
        return self._stream.read(max_bytes, read.bounded(None))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            self._stream.write(buffer[start : start + _PIECE], _bounded(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        timeout = _bounded(timeout)
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
        timeout = _bounded(timeout)
        return _Stream(super().connect_tcp(host, port, timeout, local_address, socket_options))


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        return self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


class Transport(httpx.BaseTransport):
    """httpx's way to httpcore, with streams of our own. It raises httpcore's exceptions."""

    def __init__(self, ssl_context: ssl.SSLContext) -> None:
        # Callers bound their number of connections. Idle ones are dropped early, since a server
        # that closes them after a minute could do so under a request.
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
