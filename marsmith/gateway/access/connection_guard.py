"""One connection of the gateway: uvicorn's protocol with limits, so that no caller holds it up.

uvicorn with httptools sets no limit to the size of a head, to the time that a request takes to
arrive, or to that in which an answer is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from marsmith.gateway.access.refusals import refusal
from marsmith.gateway.observe.facts import new_request_id
from marsmith.gateway.problems import problem
from marsmith.gateway.reading import SENT_NAMES
from marsmith.gateway.refusals import GatewayError

_HEAD, _BODY = 1, 2
_LENGTHS = (b"content-length", b"transfer-encoding")


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


class _JoinedWrites:
    """A transport that sends a head with the body that follows at once: uvloop sends each write."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""
        self.is_closing = transport.is_closing  # asked for most often

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines([head, data])
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._loop.call_soon(self._send_head)
        else:
            self._transport.write(data)

    def close(self) -> None:
        self._send_head()
        self._transport.close()

    def _send_head(self) -> None:
        if self._head:
            self.write(b"")


class ConnectionGuard(HttpToolsProtocol):
    """A connection."""

    config: GuardedConfig

    def __init__(self, *given: Any, **named: Any) -> None:
        """Begin between two requests."""
        super().__init__(*given, **named)
        self._limits = self.config.limits
        self._step = 0  # one more at each end of a part of a request; modulo 3: which part arrives
        self._watched = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._raw = self._body = self._paced = 0  # bytes since the request's first chunk
        self._body_since = 0.0
        self._running: tuple[RequestResponseCycle, asyncio.Task[None]] | None = None
        self._found: GatewayError | None = None  # by us, in what the parser reads
        self._ended = False  # whether nothing more is read

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast("asyncio.Transport", _JoinedWrites(transport, self.loop)))
        most = self._limits.connections
        if len(self.connections) > most:
            self._refuse(refusal("too-many-connections", limit=most, retry_after=1))
        else:
            self._wait("request", self._limits.head_time, self._overdue)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait("request")
        self._wait("reader")
        self.pipeline.clear()
        if self._running is not None:
            cycle, task = self._running
            cycle.disconnected = True
            task.cancel()  # nobody waits for the answer
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        self._raw += len(data)
        super().data_received(data)
        if self._step != self._watched:
            self._watch()
        part = self._step % 3
        if part == _HEAD and self._raw > self._limits.head:
            self._refuse(refusal("head-too-large"))
        elif part == _BODY and self._raw - self._body > self._limits.framing + 8 * self._body:
            self._refuse(refusal("bad-request", what="the body is almost all framing"))

    # ---- what the parser tells

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._sent_names: dict[bytes, bytes] = {}
        self.scope[SENT_NAMES] = self._sent_names  # type: ignore[literal-required]
        self._step += 1
        self._raw = self._body = self._paced = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._sent_names[self.headers[-1][0]] = name  # uvicorn keeps it in lower case alone

    def on_headers_complete(self) -> None:
        self._found = self._of_head()
        if self._found is not None:
            raise httptools.HttpParserError  # to leave the parser; see send_400_response
        super().on_headers_complete()
        self._step += 1
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False  # the parser stops here, as if another protocol began
        # What follows a body in chunks are no headers of the request.
        self.headers, self._sent_names = [], {}

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._step += 1
        super().on_message_complete()

    def _of_head(self) -> GatewayError | None:
        limits, version = self._limits, self.parser.get_http_version()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > limits.head or len(self.headers) > limits.headers:
            return refusal("head-too-large")
        framed = [one for one in self.headers if one[0] in _LENGTHS]
        what = ""
        if version not in ("1.1", "1.0"):
            what = "the request is not in HTTP/1.1"
        elif not self.url.startswith(b"/") and self.url != b"*":
            what = "the request's target is not a path"
        elif len(self.pipeline) >= limits.pipelined:
            what = f"more than {limits.pipelined} requests wait for earlier answers"
        elif any(name == _LENGTHS[1] and value.lower() != b"chunked" for name, value in framed):
            what = "the only Transfer-Encoding is chunked"
        elif framed and framed[0][0] == _LENGTHS[1] and version == "1.0":
            what = "HTTP/1.0 has no Transfer-Encoding"
        elif self.parser.should_upgrade() and any(value != b"0" for _, value in framed):
            what = "a request with a body cannot change the protocol: send no Upgrade"
        return refusal("bad-request", what=what) if what else None

    # ---- time

    def _watch(self) -> None:
        """Begin to wait for the rest of the part that arrives."""
        self._watched, part = self._step, self._step % 3
        self._wait("request")
        if part == _HEAD:
            self._wait("request", self._limits.head_time, self._overdue)
        elif part == _BODY:
            self._body_since = self.loop.time()
            self._wait("request", self._limits.body_pace, self._pace)

    def _overdue(self) -> None:
        if self._step:
            self._refuse(refusal("too-slow"))
        else:
            self.transport.close()  # nothing was ever sent

    def _pace(self) -> None:
        """End a connection whose body stops or takes too long, unless we stopped it."""
        arrived, self._paced = self._body - self._paced, self._body
        took = self.loop.time() - self._body_since
        slow = arrived < self._limits.body_least or took > self._limits.body_time
        if slow and not self.flow.read_paused:
            self._refuse(refusal("too-slow"))
        else:
            self._wait("request", self._limits.body_pace, self._pace)

    def _wait(
        self, what: str, seconds: float | None = None, then: Callable[[], None] = lambda: None
    ) -> None:
        """Do something unless it comes in time; without `seconds`, wait for it no longer."""
        if what in self._timers:
            self._timers.pop(what).cancel()
        if seconds is not None:
            self._timers[what] = self.loop.call_later(seconds, then)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait("reader", self._limits.read_time, self._abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._wait("reader")

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            # Closing waits for the caller.
            self._wait("reader", self._limits.read_time, self._abort)

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self._abort()
        super().timeout_keep_alive_handler()

    def _abort(self) -> None:
        self.config.refused("answer-unread")
        self.transport.abort()

    # ---- refusals

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)
        self._running = cycle, task

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._found or refusal("bad-request", what=msg))

    def _refuse(self, error: GatewayError) -> None:
        """Answer what will not be read, after the requests before it; then close."""
        if self._ended:
            return
        self._ended = True
        self._wait("request")
        self.config.refused(error.code)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and self._step % 3 == _BODY:  # it is of the last request
            if not self.pipeline:
                cycle.disconnected = True
                cycle.message_event.set()
                self._last_words(error, cycle.response_started)
                return
            self.pipeline.popleft()
            running = self._running[0] if self._running else None
            cycle = self.pipeline[0][0] if self.pipeline else running
        if cycle is None or cycle.response_complete:
            self._last_words(error)
        else:
            cycle.keep_alive = False  # the earlier requests are answered; then it closes

    def _last_words(self, error: GatewayError, started: bool = False) -> None:
        if not started:
            response = problem(error, new_request_id())
            head = [f"HTTP/1.1 {response.status_code} ".encode(), b"connection: close"]
            head += [name + b": " + value for name, value in response.raw_headers]
            self.transport.write(b"\r\n".join([*head, b"", bytes(response.body)]))
        self.transport.close()
