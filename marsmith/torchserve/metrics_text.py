"""Prometheus' text format as data: what a server answers at /metrics; no IO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from marsmith.core.errors import ClientError

Labels = dict[str, str]
Wanted = Callable[[Labels], bool]


@dataclass(frozen=True)
class Scrape:
    """All values that a server had at one moment."""

    values: dict[str, list[tuple[Labels, float]]]  # by metric

    def total(self, name: str, wanted: Wanted) -> float | None:
        """Return the sum of a metric's values whose labels are wanted; None if there are none."""
        found = [value for labels, value in self.of(name) if wanted(labels)]
        return sum(found) if found else None

    def buckets(self, name: str, wanted: Wanted) -> dict[float, float]:
        """Return a histogram: how many values were up to each bound, the last one infinite."""
        found: dict[float, float] = {}
        for labels, value in self.of(name):
            if "le" in labels and wanted(labels):
                bound = float(labels["le"])
                found[bound] = found.get(bound, 0) + value
        return dict(sorted(found.items()))

    def __contains__(self, name: str) -> bool:
        return bool(self.of(name))

    def of(self, name: str) -> list[tuple[Labels, float]]:
        """Return a metric's values, each with its labels."""
        # The parser adds what OpenMetrics wants of a counter's name.
        return self.values.get(name) or self.values.get(f"{name}_total") or []


def parse_metrics(text: str) -> Scrape:
    """Read what a server answered. Raises ClientError for what is not in that format."""
    values: dict[str, list[tuple[Labels, float]]] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                values.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    except (ValueError, KeyError, IndexError) as error:
        raise ClientError(
            "what answers at the metrics address does not speak Prometheus' format",
            "name the server's inference port: --port N",
        ) from error
    return Scrape(values)


def quantile(buckets: dict[float, float], share: float) -> float | None:
    """Estimate up to what value that share of all values are, as Prometheus does: in its bucket
    they are taken to lie evenly. None without values; the highest finite bound, if beyond it.
    """
    bounds, counts = list(buckets), list(buckets.values())
    if not counts or counts[-1] <= 0:
        return None
    rank = share * counts[-1]
    place = next(place for place, count in enumerate(counts) if count >= rank)
    if place == len(counts) - 1:
        return bounds[-2] if len(bounds) > 1 else None
    low, below = (bounds[place - 1], counts[place - 1]) if place else (0.0, 0.0)
    return low + (bounds[place] - low) * (rank - below) / (counts[place] - below)
