"""What a gateway counts, in Prometheus' format, and GET /metrics.

TorchServe's names and those of Marsmith's handlers (metrics.yaml) are among them: dashboards,
alerts and `marsmith top` read a gateway as a TorchServe. Labels are bounded: a model counts by name
once a back end has answered for it, a version once it has answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from marsmith.client.description import Model
from marsmith.core.errors import MarsmithError
from marsmith.gateway.access.refusals import refusal
from marsmith.gateway.backend import Answer, Backend

_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_OWN = ("model", "version")
_THEIRS = ("model_name", "model_version")
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
# Of each version: what they count, and by which labels. Gauges may have names without `_total`.
_OF_VERSIONS: dict[str, tuple[type[Any], str, tuple[str, ...], dict[str, Any]]] = {
    "total": (Histogram, "marsmith_gateway_request_seconds", _OWN, {"buckets": _BUCKETS}),
    "queue": (Histogram, "marsmith_gateway_queue_seconds", _OWN, {"buckets": _BUCKETS}),
    "compute": (Histogram, "handler_request_seconds", _THEIRS, {"buckets": _BUCKETS}),
    "size": (Histogram, "marsmith_gateway_batch_size", _OWN, {"buckets": _SIZES}),
    "batches": (Counter, "handler_batches", _THEIRS, {}),
    "asked": (Counter, "ts_inference_requests", _THEIRS, {}),
    "latency": (Gauge, "ts_inference_latency_microseconds", _THEIRS, {}),
    "queued": (Gauge, "ts_queue_latency_microseconds", _THEIRS, {}),
}
# The others: what they count, and by which labels.
_OTHERS: dict[str, tuple[type[Any], tuple[str, ...]]] = {
    "marsmith_gateway_requests": (Counter, (*_OWN, "face", "status")),
    "handler_requests": (Counter, (*_THEIRS, "status")),
    "marsmith_gateway_refused_connections": (Counter, ("code",)),
    "marsmith_gateway_open_requests": (Gauge, ()),
    "marsmith_gateway_queue_length": (Gauge, _OWN),
    "marsmith_gateway_workers": (Gauge, (*_OWN, "state")),
    "Requests2XX": (Gauge, ()),
    "Requests4XX": (Gauge, ()),
    "Requests5XX": (Gauge, ()),
}


class Metrics:
    """The counts of one gateway, in a registry of its own."""

    def __init__(self) -> None:
        """Begin at zero."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, which nobody reads
        self._registry = own = CollectorRegistry()
        self._of_versions = {
            key: kind(name, name, labels, registry=own, **more)
            for key, (kind, name, labels, more) in _OF_VERSIONS.items()
        }
        self._others = {
            name: kind(name, name, labels, registry=own) for name, (kind, labels) in _OTHERS.items()
        }
        self._found: dict[tuple[Any, ...], Any] = {}  # looking up by labels takes its time

    def begun(self) -> None:
        """Count a request that begins."""
        self._others["marsmith_gateway_open_requests"].inc()

    def ended(self, model: str, version: str, face: str, status: int, seconds: float) -> None:
        """Count a request that has ended."""
        self._others["marsmith_gateway_open_requests"].dec()
        self._counter("marsmith_gateway_requests", model, version, face, status).inc()
        if kind := self._others.get(f"Requests{status // 100}XX"):
            kind.inc()
        if version:
            self._version(model, version)["total"].observe(seconds)

    def answered(self, model: str, answer: Answer) -> None:
        """Count a model's answer: a request of some faces asks for several."""
        counts = self._version(model, answer.version)
        counts["queue"].observe(answer.queued)
        counts["compute"].observe(answer.computed)
        counts["size"].observe(answer.batch)
        counts["batches"].inc(1 / answer.batch)  # each request of a batch counts its share of it
        counts["asked"].inc()
        counts["latency"].inc((answer.queued + answer.computed) * 1e6)
        counts["queued"].inc(answer.queued * 1e6)
        self._counter("handler_requests", model, answer.version, answer.response.status).inc()

    def refused(self, code: str) -> None:
        """Count a connection that was ended, since nobody could or would read it."""
        self._counter("marsmith_gateway_refused_connections", code).inc()

    def text(self, models: Sequence[Model], names: Sequence[str] = ()) -> bytes:
        """Return all counts, or those named, with what the back end says of its models now."""
        queue = self._others["marsmith_gateway_queue_length"]
        workers = self._others["marsmith_gateway_workers"]
        queue.clear()
        workers.clear()
        for model in models:
            queue.labels(model.name, model.version).set(model.pending_requests)
            for worker in model.workers:
                workers.labels(model.name, model.version, worker.state.lower()).inc()
        own = self._registry.restricted_registry(names) if names else self._registry
        return generate_latest(own)

    def routes(self, backend: Backend) -> list[BaseRoute]:
        """Return the route of /metrics; `backend` tells of all models, whoever asks."""

        async def page(http: Request) -> Response:
            facts = http.scope["state"]["facts"]
            if facts.needs_key and not facts.sees(None):  # a key takes nothing away
                raise refusal("key-scope", name=facts.key.name, scope="predict")
            models: Sequence[Model] = ()
            with suppress(MarsmithError):  # what was counted is still true
                models = await backend.models()
            wanted = http.query_params.getlist("name[]")
            return Response(self.text(models, wanted), media_type=_TYPE)

        return [Route("/metrics", page)]

    def _counter(self, name: str, *labels: str | int) -> Any:
        found = self._found.get((name, *labels))
        if found is None:
            found = self._found[(name, *labels)] = self._others[name].labels(*labels)
        return found

    def _version(self, model: str, version: str) -> dict[str, Any]:
        found: dict[str, Any] | None = self._found.get((model, version))
        if found is None:
            found = {key: one.labels(model, version) for key, one in self._of_versions.items()}
            self._found[model, version] = found
        return found
