"""What a gateway counts, in Prometheus' format.

Labels are bounded: a model counts by name once a back end has answered for it, a version once it
has answered.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from marsmith.client.description import Model
from marsmith.gateway.access.torchserve_counts import ServerCounts, VersionCounts
from marsmith.gateway.backend import Answer

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
_MODEL = ("model", "version")


class Metrics:
    """The counts of one gateway, in a registry of its own."""

    def __init__(self) -> None:
        """Begin at zero."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, which nobody reads
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "marsmith_gateway_requests",
            "Requests that were answered",
            (*_MODEL, "face", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "marsmith_gateway_seconds",
            "Seconds from the head of a request to the end of its answer (total), of which it "
            "waited for a worker (queue) and was computed (compute)",
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
        self._server = ServerCounts(registry)
        self._by_request: dict[tuple[str, str, str, int], Counter] = {}
        self._by_version: dict[tuple[str, str], _Version] = {}

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
        self._server.ended(status)
        if version:
            self._of(model, version).total.observe(seconds)

    def answered(self, model: str, answer: Answer) -> None:
        """Count a model's answer: a request of some faces asks for several."""
        counts = self._of(model, answer.version)
        counts.queue.observe(answer.queued)
        counts.compute.observe(answer.computed)
        counts.batch.observe(answer.batch)
        counts.torchserve.answered(answer)

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

    def _of(self, model: str, version: str) -> _Version:
        place = (model, version)
        found = self._by_version.get(place)
        if found is None:
            torchserve = self._server.of(model, version)
            batch = self._batches.labels(*place)
            found = self._by_version[place] = _Version(self._seconds, batch, torchserve, place)
        return found


class _Version:
    """What is counted of one version, so that nothing is looked up by its labels."""

    def __init__(
        self,
        seconds: Histogram,
        batch: Histogram,
        torchserve: VersionCounts,
        place: tuple[str, str],
    ) -> None:
        self.total, self.queue, self.compute = (
            seconds.labels(*place, stage) for stage in ("total", "queue", "compute")
        )
        self.batch = batch
        self.torchserve = torchserve
