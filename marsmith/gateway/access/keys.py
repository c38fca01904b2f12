"""Keys of the gateway: what each may do, until when, and how much; no IO.

A key has 256 random bits, so its SHA-256 can be kept as it is: nobody can try them all.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from marsmith.core.errors import MarsmithError
from marsmith.core.hashing import sha256_of

ScopeKind = Literal["predict", "feedback", "manage"]
_NAME = re.compile(r"[A-Za-z0-9][\w.@-]{0,63}", re.ASCII)
_SCOPE = re.compile(rf"({'|'.join(get_args(ScopeKind))})(?::([A-Za-z0-9][\w.-]*))?", re.ASCII)
_TOKEN = re.compile(r"mk_([0-9a-f]{12})_[\w-]{43}", re.ASCII)
_LIFETIME = re.compile(r"([1-9]\d{0,4})([dhm])", re.ASCII)
_SECONDS = {"d": 86400, "h": 3600, "m": 60}


@dataclass(frozen=True)
class Scope:
    """What a key may do, for all models or for one. `manage` includes the others."""

    kind: ScopeKind
    model: str | None = None

    def __str__(self) -> str:
        return self.kind if self.model is None else f"{self.kind}:{self.model}"

    def allows(self, kind: ScopeKind, model: str | None) -> bool:
        """Whether this is enough for `kind`; None as `model` means all models."""
        return self.kind in (kind, "manage") and self.model in (None, model)


@dataclass(frozen=True)
class Limits:
    """How much a key may ask for; None: no limit."""

    rate: float | None = None  # requests a second
    concurrent: int | None = None  # requests that are open at once
    bytes_per_second: float | None = None  # of request bodies


@dataclass(frozen=True)
class Key:
    """A key as it is kept: without the secret. Times are seconds since the epoch."""

    id: str
    name: str
    digest: str  # SHA-256 of the whole token, in hex
    scopes: tuple[Scope, ...]
    created: float
    expires: float | None = None
    limits: Limits = Limits()


def new_key(
    name: str, scopes: Iterable[Scope], now: float, lifetime: float | None, limits: Limits
) -> tuple[Key, str]:
    """Return a key, and its token: what its owner sends. Raises MarsmithError for a bad name."""
    if not _NAME.fullmatch(name):
        raise MarsmithError(
            f"{name!r} cannot be the name of a key",
            "use up to 64 letters, digits, `_`, `-`, `.` and `@`; begin with a letter or digit",
            code="key-name",
        )
    id_ = secrets.token_hex(6)
    token = f"mk_{id_}_{secrets.token_urlsafe(32)}"
    expires = None if lifetime is None else now + lifetime
    return Key(id_, name, digest_of(token), tuple(scopes), now, expires, limits), token


def digest_of(token: str) -> str:
    """Return what is kept of a token."""
    return sha256_of(token.encode())


def id_of(token: str) -> str | None:
    """Return the id in a token; None if it has not the form of one."""
    found = _TOKEN.fullmatch(token)
    return found[1] if found else None


def parse_scope(text: str) -> Scope:
    """Read `predict` or `predict:MODEL`. Raises MarsmithError."""
    if found := _SCOPE.fullmatch(text):
        kind: ScopeKind = found[1]  # type: ignore[assignment]
        return Scope(kind, found[2])
    raise MarsmithError(
        f"{text!r} is not a scope",
        f"write one of {', '.join(get_args(ScopeKind))}; for one model alone: predict:MODEL",
        code="key-scope",
    )


def parse_lifetime(text: str) -> float | None:
    """Read `90d`, `12h`, `30m` or `never` as seconds. Raises MarsmithError."""
    if text == "never":
        return None
    if found := _LIFETIME.fullmatch(text):
        return float(int(found[1]) * _SECONDS[found[2]])
    raise MarsmithError(
        f"{text!r} is not a time after which a key expires",
        "write days, hours or minutes, such as 90d, 12h or 30m; or never",
        code="key-lifetime",
    )


def key_values(key: Key) -> dict[str, Any]:
    """Return a key as JSON values."""
    return asdict(key) | {"scopes": [str(scope) for scope in key.scopes]}


def key_from(values: dict[str, Any]) -> Key:
    """Read what `key_values` wrote. Raises TypeError, KeyError, ValueError or MarsmithError."""
    scopes = tuple(parse_scope(text) for text in values["scopes"])
    key = Key(**(values | {"scopes": scopes, "limits": Limits(**values["limits"])}))
    texts, times = (key.id, key.name, key.digest), (key.created, key.expires or 0)
    if not all(isinstance(one, str) for one in texts) or not sum(times) < float("inf"):
        raise ValueError("a value has another type")
    return key
