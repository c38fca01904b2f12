"""What every answer says to browsers: what they may do with it, and which pages may read it."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Message, Send

from marsmith.gateway.access.facts import Facts
from marsmith.gateway.access.heads import Head

_NOSNIFF = (b"x-content-type-options", b"nosniff")
_BEARER = (b"www-authenticate", b'Bearer realm="marsmith"')
_CLOSE = (b"connection", b"close")
_VARY = (b"vary", b"origin")
# Pages of the gateway: nothing of others, no inline script, in no frame.
_OWN_PAGE = (
    b"content-security-policy",
    b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    b"object-src 'none'",
)
# What a model answers may run nothing, and is of no origin.
_ANSWER = (b"content-security-policy", b"sandbox; default-src 'none'; frame-ancestors 'none'")
_RUNS_IN_BROWSERS = (
    b"text/html",
    b"image/svg",
    b"application/xhtml",
    b"text/xml",
    b"application/xml",
)
_METHODS = b"GET, POST, PUT, DELETE"
_REQUEST_HEADERS = b"authorization, content-type, traceparent, x-api-key"
_READABLE = (b"access-control-expose-headers", b"retry-after, x-request-id")
_DAY = b"86400"


class AnswerHeaders:
    """Sends one answer, with these headers."""

    def __init__(self, send: Send, facts: Facts, origins: frozenset[str]) -> None:
        """Pages of `origins` may read answers."""
        self._send = send
        self._facts = facts
        self._origins = origins
        self.started = False
        self.close = False  # whether the connection ends after this answer

    def allows_page(self, head: Head) -> bool:
        """Whether a browser asks if a page may send a request, and it may."""
        asked = b"access-control-request-method" in head
        return asked and head.text(b"origin").lower() in self._origins

    async def preflight(self) -> None:
        """Tell a browser that the page may."""
        told = [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _REQUEST_HEADERS),
            (b"access-control-max-age", _DAY),
            (b"content-length", b"0"),
        ]
        await self.send({"type": "http.response.start", "status": 200, "headers": told})
        await self.send({"type": "http.response.body", "body": b""})

    async def send(self, message: Message) -> None:
        """Send a message of the answer."""
        if message["type"] == "http.response.start":
            self.started = True
            given = message.get("headers", ())
            message["headers"] = [*given, _NOSNIFF, *self._further(message["status"], given)]
        await self._send(message)

    def _further(
        self, status: int, given: Iterable[tuple[bytes, bytes]]
    ) -> list[tuple[bytes, bytes]]:
        further = []
        for name, value in given:
            if name == b"content-type" and value.lower().startswith(_RUNS_IN_BROWSERS):
                further.append(_ANSWER if self._facts.model else _OWN_PAGE)
        if status == 401:
            further.append(_BEARER)
        if self.close:
            further.append(_CLOSE)
        if self._origins:
            further.append(_VARY)
            origin = self._facts.head.get(b"origin", b"")
            if origin.decode("latin-1").lower() in self._origins:
                further += [(b"access-control-allow-origin", origin), _READABLE]
        return further
