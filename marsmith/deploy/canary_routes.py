"""What a deployment and a gateway tell each other of a canary, in a server's folder; no IO.

The deployment writes the routes; each gateway that reads them writes a report of its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields

ROUTES_FILE = "routes.json"
REPORTS = "routes-report-*.json"  # the star is the process of a gateway


@dataclass(frozen=True)
class Route:
    """A canary, and the share 0…1 of its model's requests that it gets."""

    version: str
    share: float
    tolerance: float = 0.0  # within which answers agree, as for samples
    largest: float = 0.0  # the same for a single value of a picture
    until: float = math.inf  # of time.time(): the canary ends then, even if its `deploy` was killed


@dataclass
class Report:
    """What became of the requests that named no version.

    `failed`: the default version answered instead. `alike` and `other` are of requests that both
    versions got: whether their answers agree. Seconds are those of all answers together.
    """

    requests: int = 0  # that the canary answered
    seconds: float = 0.0
    usual_requests: int = 0  # that the default version answered
    usual_seconds: float = 0.0
    failed: int = 0
    alike: int = 0
    other: int = 0

    @property
    def mean(self) -> float:
        """Milliseconds of the canary for a request."""
        return self.seconds * 1000 / self.requests if self.requests else 0.0

    @property
    def usual_mean(self) -> float:
        """The same of the default version."""
        return self.usual_seconds * 1000 / self.usual_requests if self.usual_requests else 0.0


def parse_routes(text: str) -> dict[str, Route]:
    """Read the routes file, by model; a file that cannot be read has no routes."""
    try:
        return {str(model): Route(**route) for model, route in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def format_routes(routes: Mapping[str, Route]) -> bytes:
    """Write the routes file."""
    return json.dumps({model: asdict(route) for model, route in routes.items()}).encode()


def takes(route: Route, draw: float, now: float) -> bool:
    """Say whether the canary gets a request.

    `draw` is a random number 0…1, a new one for each request; `now` is time.time().
    """
    return draw < route.share and now < route.until


def format_report(model: str, version: str, report: Report) -> bytes:
    """Write the report of one gateway."""
    return json.dumps({"model": model, "version": version, **asdict(report)}).encode()


def summed(texts: Iterable[str], model: str, version: str) -> Report | None:
    """Return what all gateways report of a canary; None if none does."""
    found = [one for one in map(json.loads, texts) if _of(one) == (model, version)]
    if not found:
        return None
    return Report(**{one.name: sum(said[one.name] for said in found) for one in fields(Report)})


def _of(values: Mapping[str, object]) -> tuple[object, object]:
    return values["model"], values["version"]
