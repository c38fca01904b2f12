"""One HTTP/1.1 connection of a load generator: a non-blocking socket with prepared requests.

A general client would take too much time from a server on the same cores: a few milliseconds for
each request with a general client and 64 connections, about 20 microseconds here.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[^\r]*")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_LAST_CHUNK = re.compile(rb"(?:^|\r\n)0+\r\n\r\n$")
_CLOSING = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
_AT_ONCE = 1 << 18  # bytes; most answers arrive in one piece


class BrokenConnectionError(Exception):
    """The connection ended, or the answer is not HTTP; the text says which."""


@dataclass(frozen=True)
class Answer:
    """The answer to one request. `reason` is the status line from the status on."""

    status: int
    reason: str
    body: bytes
    closing: bool  # whether the server closes the connection now


def http_request(url: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """Return the bytes of a POST request of `body` to `url`."""
    parts = urlsplit(url)
    lines = [f"POST {parts.path or '/'} HTTP/1.1", f"Host: {parts.netloc}"]
    fields = {"Accept": "*/*", "Content-Type": "application/octet-stream"} | (headers or {})
    lines += [f"{name}: {value}" for name, value in fields.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


class Connection:
    """Sends one request at a time; call `receive` when the socket is readable."""

    def __init__(self, host: str, port: int) -> None:
        """Start to connect. Raises OSError if that fails at once."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.socket.connect((host, port))
        except BlockingIOError:
            pass  # still connecting; the first send waits for it
        except OSError:
            self.socket.close()
            raise
        self.request = 0  # number of the request in flight
        self.since = 0.0  # when it was due, on the load's clock
        self._unsent = memoryview(b"")
        self._received = b""

    def send(self, request: bytes) -> bool:
        """Send a request; False if `send_more` must send the rest once the socket is writable."""
        self._unsent = memoryview(request)
        return self.send_more()

    def send_more(self) -> bool:
        """Send the rest of a request; return whether all of it is sent."""
        try:
            self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except BlockingIOError:
            return False
        except OSError as error:
            raise BrokenConnectionError(f"not sent: {error.strerror}") from error
        return not self._unsent

    def receive(self) -> Answer | None:
        """Read available bytes; return the answer once it is complete."""
        try:
            data = self.socket.recv(_AT_ONCE)
        except BlockingIOError:
            return None
        except OSError as error:
            raise BrokenConnectionError(f"no answer: {error.strerror}") from error
        if not data:
            raise BrokenConnectionError("no answer: the server closed the connection")
        self._received += data
        return self._answer()

    def _answer(self) -> Answer | None:
        received = self._received
        end = received.find(b"\r\n\r\n") + 4
        if end < 4:
            return None
        status = _STATUS.match(received)
        if status is None:
            raise BrokenConnectionError("no answer: not HTTP")
        if length := _LENGTH.search(received, 0, end):
            if len(received) < end + int(length[1]):
                return None
            body = received[end : end + int(length[1])]
        elif _CHUNKED.search(received, 0, end):
            if not _LAST_CHUNK.search(received, end):
                return None
            body = _joined(received[end:])
        else:
            raise BrokenConnectionError("no answer: it has no length")
        self._received = b""
        reason = status[0][9:].decode("latin-1")
        return Answer(int(status[1]), reason, body, bool(_CLOSING.search(received, 0, end)))

    def close(self) -> None:
        """Close the socket, also with a request in flight."""
        self.socket.close()


def _joined(chunks: bytes) -> bytes:
    """Return the body of chunks (RFC 9112, 7.1)."""
    body, start = b"", 0
    while True:
        line_end = chunks.index(b"\r\n", start)
        size = int(chunks[start:line_end].partition(b";")[0], 16)
        if not size:
            return body
        body += chunks[line_end + 2 : line_end + 2 + size]
        start = line_end + 2 + size + 2
