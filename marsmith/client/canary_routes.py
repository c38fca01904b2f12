"""Which version of a model a request goes to, while a new one is on trial; no IO.

Whoever sends requests reads the same file, `routes.json` beside the server's keys, decides alike,
and adds what came of it to the reports.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

ROUTES_FILE = "routes.json"
REPORTS_FILE = "routes-reports.jsonl"

# `failed`: the version before answered instead. The others say of some requests, which both were
# asked for, whether their answers agree.
Outcome = Literal["failed", "alike", "other"]


@dataclass(frozen=True)
class Route:
    """A version on trial, and the share 0…1 of its model's requests that it gets."""

    version: str
    share: float
    tolerance: float = 0.0  # within which answers agree, as those to samples do
    largest: float = 0.0  # the same for any one value of a picture
    until: float = math.inf  # of time.time(): then it is over, even if whoever began it is gone


def parse_routes(text: str) -> dict[str, Route]:
    """Read the routes file, by model; nothing of one that cannot be read: nobody is on trial."""
    try:
        return {str(model): Route(**route) for model, route in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def format_routes(routes: Mapping[str, Route]) -> bytes:
    """Write the routes file."""
    return json.dumps({model: asdict(route) for model, route in routes.items()}).encode()


def routed(routes: Mapping[str, Route], model: str, draw: float, now: float) -> Route | None:
    """Return the version that a request goes to; None: the default one.

    `draw` is a number 0…1, another one for each request, `now` that of time.time().
    """
    route = routes.get(model)
    return route if route is not None and draw < route.share and now < route.until else None


def format_report(model: str, version: str, outcome: Outcome) -> bytes:
    """Write a line of the reports."""
    return json.dumps({"model": model, "version": version, "outcome": outcome}).encode() + b"\n"


def count_reports(text: str) -> dict[Outcome, int]:
    """Count what the reports say; a line that is still being written counts the next time."""
    counts: dict[Outcome, int] = {"failed": 0, "alike": 0, "other": 0}
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            counts[json.loads(line)["outcome"]] += 1
    return counts
