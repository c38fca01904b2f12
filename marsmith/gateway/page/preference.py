"""Which of the page and JSON a caller prefers; no IO."""

from __future__ import annotations

from contextlib import suppress

_PAGE = "text/html"
_JSON = ("application/json", "application/*", "*/*")


def prefers_page(accept: str) -> bool:
    """Tell whether an Accept header names HTML, and JSON not above it (RFC 9110, 12.5.1)."""
    wishes = dict(_wish(part) for part in accept.lower().split(","))
    json = next((wishes[kind] for kind in _JSON if kind in wishes), 0.0)
    return wishes.get(_PAGE, 0.0) > 0 and wishes[_PAGE] >= json


def _wish(part: str) -> tuple[str, float]:
    """Return a media type and its weight; one that cannot be read is 1."""
    kind, *parameters = (piece.strip() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            with suppress(ValueError):
                return kind, float(value)
    return kind, 1.0
