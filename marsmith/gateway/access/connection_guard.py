"""One connection of the gateway: uvicorn's protocol with limits, so that no caller holds it up.

uvicorn with httptools sets no limit to the size of a head, to the time that a request takes to
arrive, or to that in which an answer is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from marsmith.core.errors import MarsmithError
from marsmith.gateway.access.facts import new_request_id
from marsmith.gateway.access.refusals import (
    bad_request,
    head_too_large,
    too_many_connections,
    too_slow,
)
from marsmith.gateway.problems import problem
from marsmith.gateway.refusals import GatewayError

_IDLE, _HEAD, _BODY = 0, 1, 2


@dataclass(frozen=True)
class ConnectionLimits:
    """What a connection may take. Times are in seconds, sizes in bytes."""

    head: int = 65536
    headers: int = 100
    head_time: float = 10.0  # until a head is complete
    body_time: float = 300.0  # until a body is complete
    body_pace: float = 5.0  # in each such time, at least `body_least` bytes of it arrive
    body_least: int = 2500
    framing: int = 65536  # bytes beside the body: sizes of chunks, extensions, trailers
    read_time: float = 30.0  # in which a caller reads none of its answer
    idle_time: int = 75  # between two requests
    pipelined: int = 100
    connections: int = 4096


class GuardedConfig(uvicorn.Config):
    """uvicorn's configuration with limits, and with what is told of connections that are ended."""

    limits: ConnectionLimits
    refused: Callable[[str], None]


class ConnectionGuard(HttpToolsProtocol):
    """A connection."""

    config: GuardedConfig

    def __init__(self, *given: Any, **named: Any) -> None:
        """Begin between two requests."""
        super().__init__(*given, **named)
        self._limits = self.config.limits
        self._step = _IDLE  # of the request that arrives: one more at each end of a part, modulo 3
        self._watched = _IDLE
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._raw = self._body = self._paced = 0  # bytes of the request that arrives
        self._body_since = 0.0
        self._running: RequestResponseCycle | None = None
        self._refusal: GatewayError | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            self._refuse(too_many_connections(self._limits.connections))
        else:
            self._timer = self.loop.call_later(self._limits.head_time, self._overdue)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        if self._stalled is not None:
            self._stalled.cancel()
        if (running := self._running) is not None and running is not self.cycle:
            running.disconnected = True  # uvicorn tells the last of the pipelined requests alone
            running.message_event.set()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        self._raw += len(data)
        super().data_received(data)
        if self._step != self._watched:
            self._watch()
        part = self._step % 3
        if part == _HEAD and self._raw > self._limits.head:
            self._refuse(head_too_large(self._limits.head))
        elif part == _BODY and self._raw - self._body > self._limits.framing + 8 * self._body:
            self._refuse(bad_request("the body is almost all framing"))

    # ---- what the parser tells

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._step += 1
        self._raw = self._body = self._paced = 0

    def on_headers_complete(self) -> None:
        refusal = self._of_head()
        if refusal is not None:
            self._refusal_found(refusal)
        super().on_headers_complete()
        self._step += 1
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False  # the parser stops here, as if another protocol began
        # What follows a body in chunks are no headers of the request.
        self.headers = []

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._step += 1
        super().on_message_complete()

    def _of_head(self) -> GatewayError | None:
        limits = self._limits
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > limits.head or len(self.headers) > limits.headers:
            return head_too_large(limits.head)
        if self.parser.get_http_version() not in ("1.1", "1.0"):
            return bad_request("the request is not in HTTP/1.1")
        if not self.url.startswith(b"/") and self.url != b"*":
            return bad_request("the request's target is not a path")
        if len(self.pipeline) >= limits.pipelined:
            return bad_request(f"more than {limits.pipelined} requests wait for earlier answers")
        return self._of_framing()

    def _of_framing(self) -> GatewayError | None:
        framed = [
            one for one in self.headers if one[0] in (b"transfer-encoding", b"content-length")
        ]
        for name, value in framed:
            if name == b"transfer-encoding" and (
                value.lower() != b"chunked" or self.parser.get_http_version() == "1.0"
            ):
                return bad_request("the only Transfer-Encoding is chunked, in HTTP/1.1")
        if self.parser.should_upgrade() and any(value != b"0" for _, value in framed):
            return bad_request("a request with a body cannot change the protocol: drop Upgrade")
        return None

    # ---- time

    def _watch(self) -> None:
        """Begin to wait for the rest of the part that arrives."""
        self._cancel()
        self._watched = self._step
        part = self._step % 3
        if part == _HEAD:
            self._timer = self.loop.call_later(self._limits.head_time, self._overdue)
        elif part == _BODY:
            self._body_since = self.loop.time()
            self._timer = self.loop.call_later(self._limits.body_pace, self._pace)

    def _overdue(self) -> None:
        if self._step == _IDLE:  # nothing was ever sent
            self.transport.close()
        else:
            self._refuse(too_slow())

    def _pace(self) -> None:
        """End a connection whose body stops or takes too long, unless we stopped it."""
        arrived, self._paced = self._body - self._paced, self._body
        took = self.loop.time() - self._body_since
        slow = arrived < self._limits.body_least or took > self._limits.body_time
        if slow and not self.flow.read_paused:
            self._refuse(too_slow())
        else:
            self._timer = self.loop.call_later(self._limits.body_pace, self._pace)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self._limits.read_time, self._abort_unread)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            # Closing waits for the caller to read the rest.
            self._stalled = self.loop.call_later(self._limits.read_time, self._abort_unread)

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self._abort_unread()
        else:
            super().timeout_keep_alive_handler()

    def _abort_unread(self) -> None:
        self.config.refused("answer-unread")
        self.transport.abort()

    # ---- refusals

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _refusal_found(self, refusal: GatewayError) -> None:
        """Leave the parser, whose caller sends the refusal."""
        self._refusal = refusal
        raise httptools.HttpParserError(refusal.message)

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read."""
        refusal, self._refusal = self._refusal, None
        self._refuse(refusal or bad_request("the request is not HTTP/1.1: " + msg))

    def _refuse(self, refusal: GatewayError) -> None:
        """Answer what will not be read, after the requests before it; then close."""
        if self._refusal is not None:
            return
        self._refusal = refusal
        self._cancel()
        self.config.refused(refusal.code)
        running = self._running
        cycle: RequestResponseCycle | None = self.cycle
        arriving = cycle is not None and self._step % 3 == _BODY
        if arriving and self.pipeline:
            self.pipeline.popleft()
            cycle = self.pipeline[0][0] if self.pipeline else running
            arriving = False
        if cycle is not None and not arriving and not cycle.response_complete:
            cycle.keep_alive = False  # the earlier requests are answered
            return
        if cycle is None or not arriving or not (cycle.response_started or cycle.response_complete):
            self.transport.write(raw_answer(refusal))
        if cycle is not None and arriving:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()


def raw_answer(error: MarsmithError) -> bytes:
    """Return a refusal as the bytes of an HTTP response after which the connection ends."""
    response = problem(error, new_request_id())
    head = [f"HTTP/1.1 {response.status_code} ".encode(), b"connection: close"]
    head += [name + b": " + value for name, value in response.raw_headers]
    return b"\r\n".join([*head, b"", bytes(response.body)])
