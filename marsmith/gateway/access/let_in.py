"""ASGI middleware: who may send a request, from which page, with which key, and how much."""

from __future__ import annotations

import re
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marsmith.gateway.access.gate import Gate
from marsmith.gateway.access.refusals import refusal
from marsmith.gateway.observe.facts import REPEATED, Facts, Headers
from marsmith.gateway.refusals import GatewayError

# Turns an error into an answer in the form of the face that the path belongs to.
Refusing = Callable[[Exception, Facts], ASGIApp]
_CHANGES_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})
# Encoded slashes, backslashes and null bytes: a proxy may read another path than we do.
_AMBIGUOUS = re.compile(rb"%(?:2f|5c|00)", re.IGNORECASE)
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_BEARER = (b"www-authenticate", b'Bearer realm="marsmith"')
_CSP = b"content-security-policy"
# Pages of the gateway: nothing of others, no inline script, in no frame. Swagger UI writes styles
# and icons into its document; a page shows pictures that it holds itself.
_OWN_PAGE = (
    _CSP,
    b"default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    b"object-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
)
# What a model answers may run nothing, and is of no origin.
_ANSWER = (_CSP, b"sandbox; default-src 'none'; frame-ancestors 'none'")
_RUNS = (b"text/html", b"text/xml", b"image/svg", b"application/xml", b"application/xhtml")
_PREFLIGHT = [
    (
        b"access-control-allow-headers",
        b"authorization, content-type, prefer, traceparent, x-api-key",
    ),
    (b"access-control-max-age", b"86400"),
    (b"content-length", b"0"),
]
_KEYS = frozenset({"authorization", "x-api-key"})  # headers that hold one
_READABLE = (b"access-control-expose-headers", b"retry-after, x-request-id")


class Access:
    """Lets requests in, or refuses them."""

    def __init__(self, app: ASGIApp, gate: Gate, refusing: Refusing) -> None:
        """Stand before `app`, behind Observe, which puts Facts into each request's state."""
        self._app = app
        self._gate = gate
        self._refusing = refusing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        facts: Facts = scope["state"]["facts"]
        app, allowance, ends = self._app, None, False

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message.get("headers", ())
                message["headers"] = [*given, _NOSNIFF, *self._further(message, given, facts)]
                if ends or message["status"] == 413:  # the rest of the body is not read
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            self._look(scope, facts)
            if scope["method"] == "OPTIONS" and _is_preflight(facts):
                app = _preflight(facts, self._gate)
            else:
                allowance = self._gate.let_in(facts)
                self._gate.require_manager(facts)
            if b"transfer-encoding" in facts.head:
                receive = self._counted(receive, facts)
            await app(scope, receive, headed)
        except Exception as error:
            if facts.status or isinstance(error, ClientDisconnect):
                raise
            ends = b"transfer-encoding" in facts.head
            await self._refusing(error, facts)(scope, receive, headed)
            if not isinstance(error, (GatewayError, HTTPException)):
                raise  # uvicorn writes the traceback
        finally:
            if allowance is not None:
                allowance.end(facts.body_bytes)

    def _look(self, scope: Scope, facts: Facts) -> None:
        """Refuse what is ambiguous, is meant for others, or comes from pages of others."""
        head, gate = facts.head, self._gate
        if REPEATED in head:
            raise refusal("bad-request", what=f"the header {head[REPEATED].decode()} stands twice")
        if _AMBIGUOUS.search(scope["raw_path"]) or not scope["path"].isprintable():
            what = "the path has an encoded slash, backslash or control character"
            raise refusal("bad-request", what=what)
        if b"host" in head or scope["http_version"] != "1.0":  # no browser speaks 1.0
            if not head.get(b"host"):
                raise refusal("bad-request", what="the request has no header Host")
            gate.require_host(head[b"host"])
        peer = scope["client"][0] if scope.get("client") else ""
        scope["scheme"] = gate.pass_proxy(facts, peer, scope["scheme"])
        if b"origin" in head:
            changes = scope["method"] not in _CHANGES_NOTHING
            gate.note_origin(facts, scope["scheme"], changes=changes)
        gate.count(facts, int(head.get(b"content-length", b"0")))

    def _counted(self, receive: Receive, facts: Facts) -> Receive:
        """Count a body whose length nobody told."""

        async def counted() -> Message:
            message = await receive()
            self._gate.count(facts, len(message.get("body", b"")))
            return message

        return counted

    def _further(self, message: Message, given: Headers, facts: Facts) -> Headers:
        """Yield what an answer says to browsers: what they may do with it, and who may read it."""
        for name, value in given:
            if name == b"content-type" and value.lower().startswith(_RUNS):
                yield _ANSWER if facts.model else _OWN_PAGE
        if message["status"] == 401:
            yield _BEARER
        if self._gate.rules.origins:
            yield (b"vary", b"origin")
            if facts.of_other_site:
                yield (b"access-control-allow-origin", facts.head[b"origin"])
                yield _READABLE


def _is_preflight(facts: Facts) -> bool:
    return facts.of_other_site and b"access-control-request-method" in facts.head


def _preflight(facts: Facts, gate: Gate) -> ASGIApp:
    """Answer what a page of another site may send; to manage, it must be about to send a key."""
    methods = b"GET, POST"
    if not gate.asks_model(facts.path):
        named = facts.text(b"access-control-request-headers").lower().replace(",", " ").split()
        if _KEYS.isdisjoint(named):
            raise refusal("key-missing", scope="manage")
        methods = b"GET, POST, PUT, DELETE"
    headers = [(b"access-control-allow-methods", methods), *_PREFLIGHT]

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    return app
