"""What a gateway counts, in Prometheus' format.

Labels are bounded: a model counts by name once a back end has answered for it, a version once it
has answered.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from marsmith.client.description import Model
from marsmith.gateway.backend import Answer

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
_MODEL = ("model", "version")


class Metrics:
    """The counts of one gateway, in a registry of its own."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "marsmith_gateway_requests",
            "Requests that were answered",
            (*_MODEL, "face", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "marsmith_gateway_seconds",
            "Seconds of a request: total from its head to the end of its answer, of which it waited "
            "in the queue, and was computed",
            (*_MODEL, "stage"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._batches = Histogram(
            "marsmith_gateway_batch_size",
            "Requests in the batch of a request",
            _MODEL,
            buckets=_BATCHES,
            registry=registry,
        )
        self._open = Gauge(
            "marsmith_gateway_open_requests", "Requests that wait for answers", registry=registry
        )
        self._refused = Counter(
            "marsmith_gateway_refused_connections",
            "Connections that were ended since nobody could or would read them",
            ("code",),
            registry=registry,
        )
        self._queued = Gauge(
            "marsmith_gateway_queue_length",
            "Requests that wait for a worker",
            _MODEL,
            registry=registry,
        )
        self._workers = Gauge(
            "marsmith_gateway_workers", "Workers, by state", (*_MODEL, "state"), registry=registry
        )
        self._by_request: dict[tuple[str, str, str, int], Counter] = {}
        self._by_stage: dict[tuple[str, str, str], Histogram] = {}
        self._by_batch: dict[tuple[str, str], Histogram] = {}

    def begun(self) -> None:
        """Count a request that begins."""
        self._open.inc()

    def ended(self, model: str, version: str, face: str, status: int, seconds: float) -> None:
        """Count a request that has ended."""
        self._open.dec()
        place = (model, version, face, status)
        counter = self._by_request.get(place)
        if counter is None:
            counter = self._by_request[place] = self._requests.labels(*place)
        counter.inc()
        if model:
            self._stage(model, version, "total").observe(seconds)

    def answered(self, model: str, answer: Answer) -> None:
        """Count a model's answer: a request of some faces asks for several."""
        version = answer.version
        self._stage(model, version, "queue").observe(answer.queued)
        self._stage(model, version, "compute").observe(answer.computed)
        batches = self._by_batch.get((model, version))
        if batches is None:
            batches = self._batches.labels(model, version)
            self._by_batch[model, version] = batches
        batches.observe(answer.batch)

    def refused(self, code: str) -> None:
        """Count a connection that was ended."""
        self._refused.labels(code).inc()

    def text(self, models: Iterable[Model]) -> bytes:
        """Return all counts, with what the back end says of its models now."""
        self._queued.clear()
        self._workers.clear()
        for model in models:
            place = (model.name, model.version)
            self._queued.labels(*place).set(model.pending_requests)
            for worker in model.workers:
                self._workers.labels(*place, worker.state.lower()).inc()
        return generate_latest(self._registry)

    def _stage(self, model: str, version: str, stage: str) -> Histogram:
        place = (model, version, stage)
        found = self._by_stage.get(place)
        if found is None:
            found = self._by_stage[place] = self._seconds.labels(*place)
        return found
