"""Which version of a model a request goes to, while a new one is on trial; no IO.

Whoever sends requests reads the same file, `routes.json` beside the server's state, and decides
alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

ROUTES_FILE = "routes.json"
FAILURES_FILE = "routes-failed.jsonl"  # a line for each request that the version on trial failed


@dataclass(frozen=True)
class Route:
    """A version on trial, and the share 0…1 of its model's requests that it gets."""

    version: str
    share: float


def parse_routes(text: str) -> dict[str, Route]:
    """Read the routes file, by model; nothing of one that cannot be read: nobody is on trial."""
    try:
        return {
            str(model): Route(str(route["version"]), float(route["share"]))
            for model, route in json.loads(text).items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def format_routes(routes: Mapping[str, Route]) -> bytes:
    """Write the routes file."""
    values = {
        model: {"version": route.version, "share": route.share} for model, route in routes.items()
    }
    return json.dumps(values).encode()


def routed(routes: Mapping[str, Route], model: str, draw: float) -> str | None:
    """Return the version that a request goes to; None: the default one.

    `draw` is a number 0…1, another one for each request.
    """
    route = routes.get(model)
    return route.version if route is not None and draw < route.share else None


def failed(status: int) -> bool:
    """Say whether an answer of a version on trial is its own failure, and the default one better.

    A refusal that the request itself is the cause of is an answer. 404: it was withdrawn just now.
    """
    return status >= 500 or status == 404
