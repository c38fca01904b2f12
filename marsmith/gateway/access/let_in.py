"""ASGI middleware: who may send a request, from which page, with which key, and how much."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marsmith.gateway.access.answer_headers import AnswerHeaders
from marsmith.gateway.access.facts import Facts
from marsmith.gateway.access.key_store import KeyRing
from marsmith.gateway.access.keys import id_of
from marsmith.gateway.access.limits import Allowance, Allowances
from marsmith.gateway.access.refusals import (
    bad_request,
    body_too_large,
    host_unknown,
    key_missing,
    not_through_proxy,
    origin_refused,
)
from marsmith.gateway.access.rules import AccessRules, ambiguous_path, is_loopback, same_origin
from marsmith.gateway.refusals import GatewayError

# Turns a refusal into an answer in the form of the face that the path belongs to.
Refusing = Callable[[GatewayError, Facts], ASGIApp]
_CHANGES_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN_HERE = frozenset({"/ping", "/metrics", "/v2/health/live", "/v2/health/ready"})


class Access:
    """Lets requests in, or refuses them."""

    def __init__(self, app: ASGIApp, rules: AccessRules, keys: KeyRing, refusing: Refusing) -> None:
        """Stand before `app`. Observe, before this, has put the request's Facts into its state."""
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
        headers = AnswerHeaders(send, facts, self._rules.origins)
        allowance = None
        try:
            self._look(scope, facts)
            if scope["method"] == "OPTIONS" and headers.allows_page(facts.head):
                await headers.preflight()
                return
            allowance = self._let_in(scope, facts)
            if b"transfer-encoding" in facts.head:
                receive = self._counted(receive, facts, headers)
            await self._app(scope, receive, headers.send)
        except GatewayError as error:
            if not headers.started:
                headers.close |= self._unread(facts)
                await self._refusing(error, facts)(scope, receive, headers.send)
        finally:
            if allowance is not None:
                allowance.end(facts.body_bytes)

    def _look(self, scope: Scope, facts: Facts) -> None:
        """Refuse what is ambiguous, is meant for others, or comes from pages of others."""
        head, rules = facts.head, self._rules
        if head.repeated is not None:
            raise bad_request(f"the header {head.repeated.decode()} stands twice")
        if ambiguous_path(scope["raw_path"]) or not scope["path"].isprintable():
            raise bad_request("the path has an encoded slash, backslash or control character")
        host = head.get(b"host", b"")
        if host not in self._hosts:
            self._know(host, scope["http_version"])
        self._come_by_proxy(scope, facts)
        if scope["method"] not in _CHANGES_NOTHING and b"origin" in head:
            origin = head.text(b"origin").lower()
            own = same_origin(origin, scope["scheme"], head.text(b"host").lower())
            if not own and origin not in rules.origins:
                raise origin_refused(origin)

    def _know(self, host: bytes, http_version: str) -> None:
        if not host:
            if http_version == "1.0":
                return  # no browser speaks it
            raise bad_request("the header Host is missing")
        text = host.decode("latin-1")
        if not self._rules.knows_host(text):
            raise host_unknown(text)
        if len(self._hosts) < 1000:
            self._hosts.add(host)

    def _come_by_proxy(self, scope: Scope, facts: Facts) -> None:
        """Note the client; believe only our own proxies what they tell of theirs."""
        peer = scope["client"][0] if scope.get("client") else ""
        facts.client = peer
        rules = self._rules
        if not rules.proxies:
            return
        if rules.trusts(peer):
            facts.client = rules.client_of(peer, facts.head.text(b"x-forwarded-for"))
            if (scheme := facts.head.text(b"x-forwarded-proto")) in ("http", "https"):
                scope["scheme"] = scheme
        elif not rules.encrypted and not is_loopback(peer):
            raise not_through_proxy()

    def _let_in(self, scope: Scope, facts: Facts) -> Allowance | None:
        rules = self._rules
        length = facts.head.get(b"content-length")
        if length is not None:
            facts.body_bytes = int(length)
            if facts.body_bytes > rules.max_body:
                facts.body_bytes = 0
                raise body_too_large(rules.max_body)
        facts.needs_key = rules.needs_keys and not self._is_open(scope["path"], facts)
        token = token_in(facts.head)
        if token is None and facts.needs_key:
            raise key_missing()
        if token is None or not (facts.needs_key or id_of(token)):
            return None  # a token for TorchServe does no harm where TorchServe would ask for none
        facts.key = self._keys.check(token)
        return self._allowances.begin(facts.key)

    def _is_open(self, path: str, facts: Facts) -> bool:
        return (
            path in _OPEN_HERE
            and is_loopback(facts.client)
            and not self._rules.trusts(facts.client)
        )

    def _counted(self, receive: Receive, facts: Facts, headers: AnswerHeaders) -> Receive:
        """Count a body whose length nobody told; raise GatewayError when it is too large."""

        async def counted() -> Message:
            message = await receive()
            facts.body_bytes += len(message.get("body", b""))
            if facts.body_bytes > self._rules.max_body:
                headers.close = True
                raise body_too_large(self._rules.max_body)
            return message

        return counted

    def _unread(self, facts: Facts) -> bool:
        """Whether so much of a refused request's body is to come that it is not worth reading."""
        length = facts.head.get(b"content-length")
        return b"transfer-encoding" in facts.head or (
            length is not None and int(length) > self._rules.max_body
        )


def token_in(head: Mapping[bytes, bytes]) -> str | None:
    """Return the key that a request was sent with, by either header."""
    scheme, _, token = head.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    if b"x-api-key" in head:
        return head[b"x-api-key"].decode("latin-1")
    return None
