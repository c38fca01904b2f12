"""Prometheus' text format, which a server answers at /metrics, as data; no IO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from marsmith.core.errors import ClientError

Labels = dict[str, str]
Wanted = Callable[[Labels], bool]


@dataclass(frozen=True)
class Scrape:
    """All values of a server at one moment."""

    values: dict[str, list[tuple[Labels, float]]]  # by metric

    def total(self, name: str, wanted: Wanted) -> float | None:
        """Return the sum of a metric's values with wanted labels; None if there are none."""
        found = [value for labels, value in self.of(name) if wanted(labels)]
        return sum(found) if found else None

    def buckets(self, name: str, wanted: Wanted) -> dict[float, float]:
        """Return a histogram: the count of values up to each bound; the last bound is infinite."""
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
        # The parser adds the suffix that OpenMetrics requires of counters.
        return self.values.get(name) or self.values.get(f"{name}_total") or []


def parse_metrics(text: str) -> Scrape:
    """Read a scrape. Raises ClientError if it is not in this format."""
    values: dict[str, list[tuple[Labels, float]]] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                values.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    except (ValueError, KeyError, IndexError) as error:
        raise ClientError(
            "the answer of the metrics address is not in Prometheus' format",
            "name the server's inference port: --port N",
            code="metrics-format",
        ) from error
    return Scrape(values)


def quantile(buckets: dict[float, float], share: float) -> float | None:
    """Estimate a quantile as Prometheus does: values are evenly spread within a bucket.

    None without values. Beyond the highest finite bound it is that bound.
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
