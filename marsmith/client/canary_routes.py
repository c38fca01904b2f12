"""Which version of a model gets a request while there is a canary; no IO.

Every client reads the same file, `routes.json` beside the server's keys, and adds the outcome of
its requests to the reports.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

ROUTES_FILE = "routes.json"
REPORTS_FILE = "routes-reports.jsonl"

# `failed`: the default version answered instead. `alike` and `other` are of requests that both
# versions got: whether their answers agree.
Outcome = Literal["failed", "alike", "other"]


@dataclass(frozen=True)
class Route:
    """A canary, and the share 0…1 of its model's requests that it gets."""

    version: str
    share: float
    tolerance: float = 0.0  # within which answers agree, as for samples
    largest: float = 0.0  # the same for a single value of a picture
    until: float = math.inf  # of time.time(): the canary ends then, even if its `deploy` was killed


def parse_routes(text: str) -> dict[str, Route]:
    """Read the routes file, by model; a file that cannot be read has no routes."""
    try:
        return {str(model): Route(**route) for model, route in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def format_routes(routes: Mapping[str, Route]) -> bytes:
    """Write the routes file."""
    return json.dumps({model: asdict(route) for model, route in routes.items()}).encode()


def routed(routes: Mapping[str, Route], model: str, draw: float, now: float) -> Route | None:
    """Return the version that gets a request; None: the default one.

    `draw` is a random number 0…1, a new one for each request; `now` is time.time().
    """
    route = routes.get(model)
    return route if route is not None and draw < route.share and now < route.until else None


def format_report(model: str, version: str, outcome: Outcome) -> bytes:
    """Write a line of the reports."""
    return json.dumps({"model": model, "version": version, "outcome": outcome}).encode() + b"\n"


def count_reports(text: str) -> dict[Outcome, int]:
    """Count the reports; a line that is still being written counts the next time."""
    counts: dict[Outcome, int] = {"failed": 0, "alike": 0, "other": 0}
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            counts[json.loads(line)["outcome"]] += 1
    return counts
