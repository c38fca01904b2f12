"""The back end as faces see it: a caller does what its key may do, and facts are noted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from marsmith.client.description import Model
from marsmith.core.errors import MarsmithError
from marsmith.gateway.access.facts import CURRENT, Facts
from marsmith.gateway.access.keys import ScopeKind
from marsmith.gateway.access.metrics import Metrics
from marsmith.gateway.access.refusals import key_missing
from marsmith.gateway.backend import Answer, Backend, Call, Event, Registration

_UNKNOWN = frozenset({"model-unknown", "version-unknown"})


class Admitted:
    """Wraps a back end: each method checks the caller of the running task first."""

    def __init__(self, backend: Backend, metrics: Metrics, *, needs_keys: bool) -> None:
        """Without `needs_keys`, what no request asked for may be done too."""
        self._backend = backend
        self._metrics = metrics
        self._needs_keys = needs_keys
        self.name = backend.name
        self.model_api = backend.model_api
        self.start = backend.start
        self.stop = backend.stop
        self.health = backend.health
        self.archive = backend.archive

    async def predict(self, call: Call) -> Answer:
        """Answer a request."""
        facts = self._require("predict", call.model)
        if facts is not None:
            call = _traced(call, facts)
        try:
            answer = await self._backend.predict(call)
        except MarsmithError as error:
            if facts is not None:
                facts.model = "unknown" if error.code in _UNKNOWN else call.model
            raise
        self._metrics.answered(call.model, answer)
        if facts is not None:
            facts.model, facts.version = call.model, answer.version
            facts.queued, facts.computed = answer.queued, answer.computed
            facts.batch = answer.batch
        return answer

    async def models(self) -> Sequence[Model]:
        """Describe what the caller may know of."""
        facts = self._known()
        found = await self._backend.models()
        return [model for model in found if facts is None or facts.sees(model.name)]

    async def describe(self, model: str, version: str | None = None) -> Model:
        """Describe one version."""
        facts = self._known()
        if facts is not None and not facts.sees(model):
            facts.require("predict", model)
        return await self._backend.describe(model, version)

    async def register(self, given: Registration) -> Model:
        """Register an archive; a key for one model needs the model's name in the request."""
        self._require("manage", given.model_name)
        return await self._backend.register(given)

    async def unregister(self, model: str, version: str | None = None) -> None:
        """End a version."""
        self._require("manage", model)
        await self._backend.unregister(model, version)

    async def scale(
        self, model: str, version: str | None, least: int, most: int, *, wait: bool
    ) -> Model:
        """Set the bounds of a version's workers."""
        self._require("manage", model)
        return await self._backend.scale(model, version, least, most, wait=wait)

    async def set_default(self, model: str, version: str) -> None:
        """Let a version answer the requests that name none."""
        self._require("manage", model)
        await self._backend.set_default(model, version)

    def events(self) -> AsyncIterator[Event]:
        """Yield what happens from now on, to those who may know of all models."""
        self._require("manage", None)
        return self._backend.events()

    def _require(self, kind: ScopeKind, model: str | None) -> Facts | None:
        facts = self._known()
        if facts is not None:
            facts.require(kind, model)
        return facts

    def _known(self) -> Facts | None:
        facts = CURRENT.get()
        if facts is None and self._needs_keys:
            raise key_missing()
        return facts


def _traced(call: Call, facts: Facts) -> Call:
    """Let the worker know the trace, where the face did not pass the request's own headers on."""
    headers = call.request.headers
    if "Traceparent" in headers:
        return call
    traced = {**headers, "Traceparent": facts.trace.header}
    return replace(call, request=replace(call.request, headers=traced))
