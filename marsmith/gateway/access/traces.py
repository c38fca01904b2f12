"""W3C Trace Context: read `traceparent`, and name the gateway's own span; no IO."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NOTHING = re.compile("0+")


@dataclass(frozen=True)
class Trace:
    """The gateway's span of a request. Ids are in hex."""

    id: str
    span: str
    flags: str
    parent: str = ""  # the caller's span; empty without one

    @property
    def header(self) -> str:
        """The traceparent for those that the gateway asks."""
        return f"00-{self.id}-{self.span}-{self.flags}"


def trace_of(traceparent: str) -> Trace:
    """Continue a caller's trace; begin one, not sampled, if there is none or it is malformed."""
    # Ids are no secrets.
    span = f"{random.getrandbits(64) or 1:016x}"
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if found is None or not _is_valid(found):
        return Trace(f"{random.getrandbits(128) or 1:032x}", span, "00")
    return Trace(found[2], span, found[4], found[3])


def _is_valid(found: re.Match[str]) -> bool:
    version, trace, span, _, rest = found.groups()
    later = version not in ("00", "ff")
    return (
        (not rest or later)
        and version != "ff"
        and not (_NOTHING.fullmatch(trace) or _NOTHING.fullmatch(span))
    )
