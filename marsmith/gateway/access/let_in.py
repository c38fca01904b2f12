"""ASGI middleware: who may send a request, from which page, with which key, and how much."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marsmith.gateway.access.allowances import Allowance, Allowances
from marsmith.gateway.access.key_store import KeyRing
from marsmith.gateway.access.keys import id_of
from marsmith.gateway.access.refusals import refusal
from marsmith.gateway.access.rules import AccessRules, is_loopback
from marsmith.gateway.observe.facts import REPEATED, Facts, Headers
from marsmith.gateway.refusals import GatewayError

# Turns a refusal into an answer in the form of the face that the path belongs to.
Refusing = Callable[[GatewayError, Facts], ASGIApp]
_CHANGES_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN_HERE = frozenset({"/ping", "/metrics", "/v2/health/live", "/v2/health/ready"})
# Encoded slashes, backslashes and null bytes: a proxy may read another path than we do.
_AMBIGUOUS = re.compile(rb"%(?:2f|5c|00)", re.IGNORECASE)
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_BEARER = (b"www-authenticate", b'Bearer realm="marsmith"')
_CSP = b"content-security-policy"
# Pages of the gateway: nothing of others, no inline script, in no frame.
_OWN_PAGE = (_CSP, b"default-src 'self'; base-uri 'none'; frame-ancestors 'none'")
# What a model answers may run nothing, and is of no origin.
_ANSWER = (_CSP, b"sandbox; default-src 'none'; frame-ancestors 'none'")
_RUNS = (b"text/html", b"text/xml", b"image/svg", b"application/xml", b"application/xhtml")
_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST, PUT, DELETE"),
    (b"access-control-allow-headers", b"authorization, content-type, traceparent, x-api-key"),
    (b"access-control-max-age", b"86400"),
    (b"content-length", b"0"),
]
_READABLE = (b"access-control-expose-headers", b"retry-after, x-request-id")


class Access:
    """Lets requests in, or refuses them."""

    def __init__(self, app: ASGIApp, rules: AccessRules, keys: KeyRing, refusing: Refusing) -> None:
        """Stand before `app`, behind Observe, which puts Facts into each request's state."""
        self._app = app
        self._rules = rules
        self._keys = keys
        self._refusing = refusing
        self._allowances = Allowances()
        self._hosts: set[bytes] = set()  # that are known, as they were sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        facts: Facts = scope["state"]["facts"]
        app, allowance, ends = self._app, None, False

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message.get("headers", ())
                message["headers"] = [*given, _NOSNIFF, *self._further(message, given, facts)]
                if ends:
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            self._look(scope, facts)
            if scope["method"] == "OPTIONS" and self._asks_for_page(facts):
                app = _preflight
            else:
                allowance = self._let_in(scope, facts)
            if b"transfer-encoding" in facts.head:
                receive = self._counted(receive, facts)
            await app(scope, receive, headed)
        except GatewayError as error:
            if facts.status:
                raise
            # A body that is not worth reading to its end.
            ends = b"transfer-encoding" in facts.head or error.code == "body-too-large"
            await self._refusing(error, facts)(scope, receive, headed)
        finally:
            if allowance is not None:
                allowance.end(facts.body_bytes)

    def _look(self, scope: Scope, facts: Facts) -> None:
        """Refuse what is ambiguous, is meant for others, or comes from pages of others."""
        head, rules = facts.head, self._rules
        if REPEATED in head:
            raise refusal("bad-request", what=f"the header {head[REPEATED].decode()} stands twice")
        if _AMBIGUOUS.search(scope["raw_path"]) or not scope["path"].isprintable():
            what = "the path has an encoded slash, backslash or control character"
            raise refusal("bad-request", what=what)
        host = head.get(b"host", b"")
        if host not in self._hosts:
            self._know(host, scope["http_version"])
        self._come_by_proxy(scope, facts)
        if scope["method"] not in _CHANGES_NOTHING and b"origin" in head:
            origin = facts.text(b"origin").lower()
            own = f"{scope['scheme']}://{facts.text(b'host').lower()}"
            if origin != own and origin not in rules.origins:
                raise refusal("origin-refused", origin=origin)

    def _know(self, host: bytes, http_version: str) -> None:
        if not host and http_version == "1.0":
            return  # no browser speaks it
        if not self._rules.knows_host(host.decode("latin-1")):
            raise refusal("host-unknown", host=host.decode("latin-1"))
        if len(self._hosts) < 1000:
            self._hosts.add(host)

    def _come_by_proxy(self, scope: Scope, facts: Facts) -> None:
        """Note the client; believe only our own proxies what they tell of theirs."""
        facts.client = peer = scope["client"][0] if scope.get("client") else ""
        rules = self._rules
        if rules.trusts(peer):
            facts.client = rules.client_of(peer, facts.text(b"x-forwarded-for"))
            if (scheme := facts.text(b"x-forwarded-proto")) in ("http", "https"):
                scope["scheme"] = scheme
        elif rules.proxies and not rules.encrypted and not is_loopback(peer):
            raise refusal("not-through-proxy")

    def _asks_for_page(self, facts: Facts) -> bool:
        asked = b"access-control-request-method" in facts.head
        return asked and facts.text(b"origin").lower() in self._rules.origins

    def _let_in(self, scope: Scope, facts: Facts) -> Allowance | None:
        rules, client = self._rules, facts.client
        self._count(facts, int(facts.head.get(b"content-length", b"0")))
        here = scope["path"] in _OPEN_HERE and is_loopback(client) and not rules.trusts(client)
        facts.needs_key = rules.needs_keys and not here
        token = token_in(facts.head)
        if token is None:
            facts.require("predict", None)
            return None
        if not facts.needs_key and id_of(token) is None:
            return None  # a token for TorchServe does no harm where TorchServe asks for none
        facts.key = self._keys.check(token)
        return self._allowances.begin(facts.key)

    def _counted(self, receive: Receive, facts: Facts) -> Receive:
        """Count a body whose length nobody told; raise GatewayError when it is too large."""

        async def counted() -> Message:
            message = await receive()
            self._count(facts, len(message.get("body", b"")))
            return message

        return counted

    def _count(self, facts: Facts, size: int) -> None:
        if facts.body_bytes + size > self._rules.max_body:
            raise refusal("body-too-large", limit=self._rules.max_body)
        facts.body_bytes += size

    def _further(self, message: Message, given: Headers, facts: Facts) -> Headers:
        """Yield what an answer says to browsers: what they may do with it, and who may read it."""
        for name, value in given:
            if name == b"content-type" and value.lower().startswith(_RUNS):
                yield _ANSWER if facts.model else _OWN_PAGE
        if message["status"] == 401:
            yield _BEARER
        if self._rules.origins:
            yield (b"vary", b"origin")
            if facts.text(b"origin").lower() in self._rules.origins:
                yield (b"access-control-allow-origin", facts.head[b"origin"])
                yield _READABLE


async def _preflight(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": _PREFLIGHT})
    await send({"type": "http.response.body", "body": b""})


def token_in(head: Mapping[bytes, bytes]) -> str | None:
    """Return the key that a request was sent with, by either header."""
    scheme, _, token = head.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return head[b"x-api-key"].decode("latin-1") if b"x-api-key" in head else None
