"""The headers of a request that the gateway itself looks at; no IO."""

from __future__ import annotations

from collections.abc import Iterable

_LISTS = frozenset({b"x-forwarded-for"})  # may stand several times
_WANTED = _LISTS | {
    b"access-control-request-method",
    b"authorization",
    b"content-length",
    b"host",
    b"origin",
    b"traceparent",
    b"transfer-encoding",
    b"x-api-key",
    b"x-forwarded-proto",
}


class Head(dict[bytes, bytes]):
    """Those of the wanted headers that were sent."""

    repeated: bytes | None = None  # one that may stand once, and was sent more than once

    def text(self, name: bytes) -> str:
        """Return a header, or nothing."""
        return self.get(name, b"").decode("latin-1")


def head_of(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """Find them."""
    head = Head()
    for name, value in headers:
        if name in _WANTED:
            if name not in head:
                head[name] = value
            elif name in _LISTS:
                head[name] += b"," + value
            else:
                head.repeated = name
    return head
