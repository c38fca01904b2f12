"""Decides whether a request is let in: by its host, page, proxy, key and limits."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from contextlib import suppress

from marsmith.gateway.access.allowances import Allowance, Allowances
from marsmith.gateway.access.key_store import KeyRing
from marsmith.gateway.access.keys import Key, id_of
from marsmith.gateway.access.refusals import refusal
from marsmith.gateway.access.rules import AccessRules, is_loopback
from marsmith.gateway.observe.facts import Facts

# What this machine may ask without a key.
_OPEN_HERE = {
    "/ping",
    "/metrics",
    "/v2/health/live",
    "/v2/health/ready",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
    "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Ping",
}
# The page's own files hold no secret; without them nobody could type a key.
_PAGE = re.compile(r"/|/docs|/page/[\w-]+\.(?:css|html|js|svg|txt)")
# Paths by which models are asked, and what a caller looks at before: readiness, inputs, outputs.
_ASKS_MODEL = re.compile(
    r"/(?:predictions|explanations|v1|v2)/.+|/v2|/ping|/invocations"
    r"|/models/[^/]+/(?:(?:versions/[^/]+/)?predict|invoke)|/[^/]+(?:/[^/]+)?/predict"
    r"|/jobs(?:/.+)?|/uploads(?:/.+)?"
)
_SIGNED = re.compile(r"/uploads/[^/]+|/jobs/[^/]+/answer")  # may be signed in place of a key
_UPLOADS = "/uploads/"  # whose size jobs/face.py limits


class Gate:
    """Of one gateway: all of its listeners share the limits of keys. It raises GatewayErrors."""

    def __init__(self, rules: AccessRules | None = None, keys: KeyRing | None = None) -> None:
        """By default it is open to this machine alone, and knows no key."""
        self.rules = rules or AccessRules()
        self._keys = keys or KeyRing()
        self._allowances = Allowances()
        self._hosts: set[bytes] = set()  # that are known, as they were sent

    def require_host(self, host: bytes) -> None:
        """Refuse a Host header that names another machine."""
        if host not in self._hosts:
            if not self.rules.knows_host(host.decode("latin-1")):
                raise refusal("host-unknown", host=host.decode("latin-1"))
            if len(self._hosts) < 1000:
                self._hosts.add(host)

    def note_origin(self, facts: Facts, scheme: str, *, changes: bool) -> None:
        """Note that a page of another site asks; refuse it if it `changes` things, unless named."""
        origin = facts.text(b"origin").lower()
        if origin == f"{scheme}://{facts.text(b'host').lower()}":
            return
        facts.of_other_site = origin in self.rules.origins
        if changes and not facts.of_other_site:
            raise refusal("origin-refused", origin=origin)

    def pass_proxy(self, facts: Facts, peer: str, scheme: str) -> str:
        """Note the client, and return the scheme; only of our own proxies believe what they say."""
        facts.client = peer
        rules = self.rules
        if rules.trusts(peer):
            facts.client = rules.client_of(peer, facts.text(b"x-forwarded-for"))
            told = facts.text(b"x-forwarded-proto")
            return told if told in ("http", "https") else scheme
        if rules.proxies and not rules.encrypted and not is_loopback(peer):
            raise refusal("not-through-proxy")
        return scheme

    def let_in(self, facts: Facts) -> Allowance | None:
        """Check the key, and count the request; what is returned must be told of its end."""
        rules, client = self.rules, facts.client
        here = facts.path in _OPEN_HERE and is_loopback(client) and not rules.trusts(client)
        facts.needs_key = rules.needs_keys and not here
        token = token_in(facts.head)
        if token is None:
            if not self._is_open(facts):
                facts.require("predict", None)
            return None
        if not facts.needs_key and id_of(token) is None:
            return None  # a token for TorchServe does no harm where TorchServe asks for none
        facts.key = self._keys.check(token)
        return self._allowances.begin(facts.key)

    def key(self, id_: str) -> Key:
        """Return the key with this id."""
        return self._keys.find(id_)

    def require_manager(self, facts: Facts) -> None:
        """Refuse what pages of other sites may not do without a key to manage."""
        if facts.of_other_site and not facts.manages and not self.asks_model(facts.path):
            if facts.key is None:
                raise refusal("key-missing", scope="manage")
            raise refusal("key-scope", name=facts.key.name, scope="manage")

    def asks_model(self, path: str) -> bool:
        """Whether a path is for asking models; others are for managing and for watching them."""
        return path in self.rules.routes or _ASKS_MODEL.fullmatch(path) is not None

    def count(self, facts: Facts, size: int) -> None:
        """Count bytes of a body."""
        too_large = facts.body_bytes + size > self.rules.max_body
        if too_large and not facts.path.startswith(_UPLOADS):
            raise refusal("body-too-large", limit=self.rules.max_body)
        facts.body_bytes += size

    def _is_open(self, facts: Facts) -> bool:
        """Whether a request may come without a key: for a page, or to a signed address."""
        if _SIGNED.fullmatch(facts.path):
            return True
        reads = facts.method in ("GET", "HEAD")
        page = facts.path in self.rules.redirects or _PAGE.fullmatch(facts.path)
        return reads and bool(page)


def token_in(head: Mapping[bytes, bytes]) -> str | None:
    """Return the key that a request was sent with: by either header, or as a password."""
    scheme, _, token = head.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    if b"x-api-key" in head:
        return head[b"x-api-key"].decode("latin-1")
    return _password(token) if scheme.lower() == "basic" else None


def _password(credentials: str) -> str:
    """Return the password of HTTP Basic (RFC 7617), which old clients know; empty if damaged."""
    with suppress(ValueError):
        return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[2]
    return ""
