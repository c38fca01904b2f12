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
from marsmith.gateway.observe.sums import OWN, THEIRS, Sums

_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# What they count, and by which labels.
_METRICS: dict[str, tuple[type[Any], tuple[str, ...]]] = {
    "marsmith_gateway_requests": (Counter, (*OWN, "face", "status")),
    "handler_requests": (Counter, (*THEIRS, "status")),
    "marsmith_gateway_refused_connections": (Counter, ("code",)),
    "marsmith_gateway_open_requests": (Gauge, ()),
    "marsmith_gateway_queue_length": (Gauge, OWN),
    "marsmith_gateway_workers": (Gauge, (*OWN, "state")),
    "marsmith_gateway_jobs": (Gauge, ("state",)),
    "marsmith_gateway_jobs_ended": (Counter, ("state",)),
    "Requests2XX": (Gauge, ()),
    "Requests4XX": (Gauge, ()),
    "Requests5XX": (Gauge, ()),
}


class Metrics:
    """The counts of one gateway, in a registry of its own."""

    def __init__(self) -> None:
        """Begin at zero."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, which nobody reads
        self._registry = own = CollectorRegistry(auto_describe=True)
        self._sums = Sums()
        own.register(self._sums)
        self._metrics = {
            name: kind(name, name, labels, registry=own)
            for name, (kind, labels) in _METRICS.items()
        }
        self._open = 0
        self._found: dict[tuple[str | int, ...], Any] = {}  # looking up by labels takes its time

    def begun(self) -> None:
        """Count a request that begins."""
        self._open += 1

    def ended(self, model: str, version: str, face: str, status: int, seconds: float) -> None:
        """Count a request that has ended."""
        self._open -= 1
        self._counter("marsmith_gateway_requests", model, version, face, status).inc()
        if kind := self._metrics.get(f"Requests{status // 100}XX"):
            kind.inc()
        if version:
            self._sums.of[model, version].total.add(seconds)

    def answered(self, model: str, answer: Answer) -> None:
        """Count a model's answer: a request of some faces asks for several."""
        self._sums.of[model, answer.version].add(answer)
        self._counter("handler_requests", model, answer.version, answer.response.status).inc()

    def refused(self, code: str) -> None:
        """Count a connection that was ended, since nobody could or would read it."""
        self._counter("marsmith_gateway_refused_connections", code).inc()

    def jobs(self, state: str, number: int) -> None:
        """Note how many jobs are in a state now."""
        self._counter("marsmith_gateway_jobs", state).set(number)

    def job_ended(self, state: str) -> None:
        """Count a job that has ended."""
        self._counter("marsmith_gateway_jobs_ended", state).inc()

    def text(self, models: Sequence[Model], names: Sequence[str] = ()) -> bytes:
        """Return all counts, or those named, with what the back end says of its models now."""
        queue = self._metrics["marsmith_gateway_queue_length"]
        workers = self._metrics["marsmith_gateway_workers"]
        self._metrics["marsmith_gateway_open_requests"].set(self._open)
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
            found = self._found[(name, *labels)] = self._metrics[name].labels(*labels)
        return found
