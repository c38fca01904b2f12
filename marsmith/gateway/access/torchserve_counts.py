"""What TorchServe and Marsmith's handlers count there, by the same names (metrics.yaml).

So dashboards, alerts and `marsmith top` read a gateway as a TorchServe. The gateway counts for
every handler, also for those that count nothing themselves.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from marsmith.gateway.backend import Answer

_MODEL = ("model_name", "model_version")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class ServerCounts:
    """The counts of a whole gateway, and those of each version."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Begin at zero."""

        def untyped(name: str, told: str, labels: tuple[str, ...] = ()) -> Gauge:
            # Names without `_total`, which only gauges may have here.
            return Gauge(name, told, labels, registry=registry)

        self._statuses = {
            kind: untyped(f"Requests{kind}XX", f"Answers with a status of {kind}xx")
            for kind in (2, 4, 5)
        }
        self.latency = untyped("ts_inference_latency_microseconds", "Queue and handler", _MODEL)
        self.queue = untyped("ts_queue_latency_microseconds", "Time in the queue", _MODEL)
        self.asked = Counter("ts_inference_requests", "Requests", _MODEL, registry=registry)
        self.batches = Counter("handler_batches", "Batches", _MODEL, registry=registry)
        self.requests = Counter(
            "handler_requests", "Answers by status", (*_MODEL, "status"), registry=registry
        )
        self.seconds = Histogram(
            "handler_request_seconds",
            "Seconds in the worker, for the request's batch",
            _MODEL,
            buckets=_SECONDS,
            registry=registry,
        )

    def ended(self, status: int) -> None:
        """Count an answered request."""
        kind = self._statuses.get(status // 100)
        if kind is not None:
            kind.inc()

    def of(self, model: str, version: str) -> VersionCounts:
        """Return the counts of a version."""
        return VersionCounts(self, model, version)


class VersionCounts:
    """The counts of a version."""

    def __init__(self, server: ServerCounts, model: str, version: str) -> None:
        """Find them."""
        self._latency = server.latency.labels(model, version)
        self._queue = server.queue.labels(model, version)
        self._asked = server.asked.labels(model, version)
        self._batches = server.batches.labels(model, version)
        self._seconds = server.seconds.labels(model, version)
        self._statuses: dict[int, Counter] = {}
        self._requests = server.requests
        self._place = (model, version)

    def answered(self, answer: Answer) -> None:
        """Count an answer."""
        status = answer.response.status
        counter = self._statuses.get(status)
        if counter is None:
            counter = self._statuses[status] = self._requests.labels(*self._place, status)
        counter.inc()
        self._asked.inc()
        self._batches.inc(1 / answer.batch)  # each request of a batch counts its share of it
        self._latency.inc((answer.queued + answer.computed) * 1e6)
        self._queue.inc(answer.queued * 1e6)
        self._seconds.observe(answer.computed)
