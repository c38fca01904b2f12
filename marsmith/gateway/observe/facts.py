"""What is known of a request while it is answered, for access, metrics, log and traces; no IO."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple

from marsmith.gateway.access.keys import Key, ScopeKind
from marsmith.gateway.access.refusals import refusal

Headers = Iterable[tuple[bytes, bytes]]
REPEATED = b""  # in a head: the name of a header that may stand once, and was sent again
_LISTS = frozenset({b"prefer", b"x-forwarded-for"})  # may stand several times
_WANTED = _LISTS | set(
    b"access-control-request-headers access-control-request-method authorization content-length "
    b"host origin traceparent transfer-encoding x-api-key x-forwarded-proto".split()
)
_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)


class Trace(NamedTuple):
    """The gateway's span in a trace of W3C Trace Context. Ids are in hex."""

    id: str
    span: str
    flags: str = "00"
    parent: str = ""  # the caller's span; empty without one

    @property
    def header(self) -> str:
        """The traceparent for those that the gateway asks."""
        return f"00-{self.id}-{self.span}-{self.flags}"


@dataclass(slots=True)
class Facts:
    """One request: who sent it, what it was for, what became of it."""

    method: str
    path: str
    face: str
    head: dict[bytes, bytes]
    trace: Trace
    id: str = field(default_factory=lambda: new_request_id())
    begun: float = field(default_factory=perf_counter)
    client: str = ""
    needs_key: bool = False
    of_other_site: bool = False  # sent by a page of a site that --cors-origin names
    key: Key | None = None
    model: str = ""  # once a back end has answered for it
    version: str = ""
    status: int = 0
    body_bytes: int = 0
    sent_bytes: int = 0
    queued: float = 0.0
    computed: float = 0.0
    batch: int = 0
    span: Any = None  # OpenTelemetry's

    def text(self, name: bytes) -> str:
        """Return a header, or nothing."""
        return self.head.get(name, b"").decode("latin-1")

    @property
    def manages(self) -> bool:
        """Whether the caller sent a key to manage models, or one of them."""
        return self.key is not None and any(scope.kind == "manage" for scope in self.key.scopes)

    def require(self, kind: ScopeKind, model: str | None) -> None:
        """Raise GatewayError unless the caller may do this; None as `model` means all models."""
        if self.key is None:
            if self.needs_key or (self.of_other_site and kind == "manage"):
                raise refusal("key-missing", scope=kind)
        elif not any(scope.allows(kind, model) for scope in self.key.scopes):
            scope = kind if model is None else f"{kind}:{model}"
            raise refusal("key-scope", name=self.key.name, scope=scope)

    def sees(self, model: str | None) -> bool:
        """Whether the caller may know of a model; None: of all."""
        if self.key is None:
            return not self.needs_key
        return any(scope.model in (None, model) for scope in self.key.scopes)


# Of the request that the running task answers.
CURRENT: ContextVar[Facts | None] = ContextVar("CURRENT", default=None)


def head_of(headers: Headers) -> dict[bytes, bytes]:
    """Return the headers that the gateway itself looks at."""
    head: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _WANTED:
            if name not in head:
                head[name] = value
            elif name in _LISTS:
                head[name] += b"," + value
            else:
                head[REPEATED] = name
    return head


def trace_of(traceparent: str) -> Trace:
    """Continue a caller's trace; begin one, not sampled, if there is none or it is malformed."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if found is None or (found[5] and found[1] == "00"):
        return Trace(_random(128), _random(64))
    return Trace(found[2], _random(64), found[4], found[3])


def new_request_id() -> str:
    """Return a UUID. Unique, not secret: eight times faster than uuid4."""
    digits = _random(128)
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _random(bits: int) -> str:
    return f"{random.getrandbits(bits) or 1:0{bits // 4}x}"
