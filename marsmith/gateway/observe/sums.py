"""What the answers of each version add up to, as a collector of Prometheus; no IO.

Its own counters take a lock for each bucket of a histogram: a tenth of a request's time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import HistogramMetricFamily as Histogram
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from marsmith.gateway.backend import Answer

OWN = ("model", "version")
THEIRS = ("model_name", "model_version")
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Distribution:
    """How many values are below which bounds, and their sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def told(self) -> tuple[list[tuple[str, float]], float]:
        """Return how many values each bound is not exceeded by, and the sum."""
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        return list(zip(bounds, accumulate(self._counts), strict=True)), self.sum


class VersionSums:
    """Those of one version; times are in seconds."""

    def __init__(self) -> None:
        self.total, self.queued, self.computed = (Distribution(_SECONDS) for _ in range(3))
        self.sizes = Distribution(_SIZES)
        self.answers = 0
        self.batches = 0.0

    def add(self, answer: Answer) -> None:
        """Count an answer."""
        self.answers += 1
        self.queued.add(answer.queued)
        self.computed.add(answer.computed)
        self.sizes.add(answer.batch)
        self.batches += 1 / answer.batch  # each request of a batch counts its share of it

    @property
    def seconds(self) -> float:
        """What they waited and computed."""
        return self.queued.sum + self.computed.sum


# Each with its labels, and what is told of a version. A counter's name gets `_total`; gauges are
# named as TorchServe has them.
_FAMILIES: list[tuple[type[Any], str, tuple[str, str], Callable[[VersionSums], tuple[Any, ...]]]]
_FAMILIES = [
    (Histogram, "marsmith_gateway_request_seconds", OWN, lambda sums: sums.total.told()),
    (Histogram, "marsmith_gateway_queue_seconds", OWN, lambda sums: sums.queued.told()),
    (Histogram, "handler_request_seconds", THEIRS, lambda sums: sums.computed.told()),
    (Histogram, "marsmith_gateway_batch_size", OWN, lambda sums: sums.sizes.told()),
    (Counter, "handler_batches", THEIRS, lambda sums: (sums.batches,)),
    (Counter, "ts_inference_requests", THEIRS, lambda sums: (sums.answers,)),
    (Gauge, "ts_inference_latency_microseconds", THEIRS, lambda sums: (1e6 * sums.seconds,)),
    (Gauge, "ts_queue_latency_microseconds", THEIRS, lambda sums: (1e6 * sums.queued.sum,)),
]


class Sums(Collector):
    """Those of all versions, by model and version."""

    def __init__(self) -> None:
        self.of: defaultdict[tuple[str, str], VersionSums] = defaultdict(VersionSums)

    def collect(self) -> Iterator[Metric]:
        """Yield them as Prometheus has them."""
        for kind, name, labels, told in _FAMILIES:
            family = kind(name, name, labels=labels)
            for key, sums in self.of.items():
                family.add_metric(key, *told(sums))
            yield family
