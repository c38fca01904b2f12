"""HTTP/1.1 as bytes: requests to send, and responses as they arrive; no IO.

The blocking transport of the client and the asyncio one of the gateway share it. The parser is
llhttp, Node's own, by way of httptools.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol
from urllib.parse import urlsplit

import httptools

from marsmith.answers.messages import HEADER_NAME, Response

_NAME = re.compile(HEADER_NAME)
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(r"/[\x21-\x7e]{0,65000}")
_LARGEST_HEAD = 1 << 18  # bytes
_DEFAULT_PORTS = {"http": 80, "https": 443}


class NotConnectedError(Exception):
    """A server takes no connection."""


class LostError(Exception):
    """The connection ended before the answer was complete."""


class NotHttpError(Exception):
    """What came is no answer of an HTTP server."""


class _Parser(Protocol):
    def feed_data(self, data: bytes) -> None: ...
    def get_status_code(self) -> int: ...
    def should_keep_alive(self) -> bool: ...


@dataclass(frozen=True)
class Place:
    """Where a server listens. `host` is for sockets and certificates, `name` for the Host header.

    `path` stands before that of every request.
    """

    host: str
    port: int
    tls: bool
    name: str
    path: str


@lru_cache(64)
def place_of(url: str) -> Place:
    """Read the address of a server. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.port == 0:
        raise ValueError(f"{url} is no address of an HTTP server")
    host = parts.hostname.encode("idna").decode()
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    bracketed = f"[{host}]" if ":" in host else host
    tls = parts.scheme == "https"
    return Place(host, port, tls, f"{bracketed}:{port}", parts.path.rstrip("/"))


def request_head(
    method: str, place: Place, path: str, headers: Mapping[str, str], length: int
) -> bytes:
    """Return all of a request but its body, which has `length` bytes.

    Raises ValueError for what HTTP cannot say.
    """
    target = place.path + path
    if not _TARGET.fullmatch(target):
        raise ValueError("its path is too long, or has a character that must be quoted")
    lines = [f"{method} {target} HTTP/1.1\r\nHost: {place.name}"]
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"the header {name!r} has a character that no header can hold")
        lines.append(f"{name}: {value}")
    if length or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {length}")
    return "\r\n".join((*lines, "", "")).encode("latin-1")


class ResponseReader:
    """Reads one response from the bytes that arrive."""

    def __init__(self) -> None:
        self._parser: _Parser = httptools.HttpResponseParser(self)
        self._seen = 0
        self._headers: dict[str, str] = {}
        self._reason = ""
        self._parts: list[bytes] = []
        self.status = 0  # until the head is complete
        self.complete = False
        self.reusable = False  # whether the connection can carry another request

    def feed(self, data: bytes) -> None:
        """Take what arrived. Raises NotHttpError."""
        self._seen += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.complete:
                raise NotHttpError(str(error)) from error
            self.reusable = False  # more than one answer came
        if not self.status and self._seen > _LARGEST_HEAD:
            raise NotHttpError("its header does not end")

    def end(self) -> None:
        """Take the end of the connection. Raises LostError if the answer is not complete."""
        if self.complete:
            return
        if not self.status or self.in_parts or "content-length" in self._headers:
            raise LostError("it closed the connection")
        self.complete = True

    @property
    def in_parts(self) -> bool:
        """Whether the server sends it in chunks, as TorchServe does for answers in parts."""
        return "chunked" in self._headers.get("transfer-encoding", "").lower()

    @property
    def response(self) -> Response:
        """What arrived so far: the head, and the body since the last call of `taken`."""
        return Response(self.status, self._reason, self._headers, self.taken())

    def taken(self) -> bytes:
        """Return what arrived of the body, once."""
        parts, self._parts = self._parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    # What httptools calls.

    def on_message_begin(self) -> None:
        """Begin with a response, or with the one after an interim one."""
        if not self.complete:
            self._headers, self._reason = {}, ""

    def on_status(self, reason: bytes) -> None:
        """Take the words after the status."""
        self._reason += reason.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; one that is there twice is a list (RFC 9110, 5.2)."""
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """Take the end of the head; an interim response has nothing to say."""
        status = self._parser.get_status_code()
        if status >= 200 and not self.complete:
            self.status = status
            self.reusable = bool(self._parser.should_keep_alive())

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        if not self.complete:
            self._parts.append(data)

    def on_message_complete(self) -> None:
        """Take the end of the response."""
        if self.complete:
            self.reusable = False  # nobody asked for a second one
        self.complete = self.complete or self.status >= 200
