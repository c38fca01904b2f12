"""The back end as faces see it: a caller does what its key may do, and facts are noted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, cast

from marsmith.archive.reader import Archive
from marsmith.client.description import Model
from marsmith.core.errors import MarsmithError
from marsmith.gateway.access.keys import ScopeKind
from marsmith.gateway.access.refusals import refusal
from marsmith.gateway.backend import Answer, Backend, Call, Event, Registration
from marsmith.gateway.observe.facts import CURRENT, Facts
from marsmith.gateway.observe.metrics import Metrics

_UNKNOWN = frozenset({"model-unknown", "version-unknown"})


def admitted(backend: Backend, metrics: Metrics, *, needs_keys: bool) -> Backend:
    """Return a back end whose methods check the caller of the running task first.

    Without `needs_keys`, what no request asked for may be done too.
    """
    return cast(Backend, _Admitted(backend, metrics, needs_keys))


class _Admitted:
    def __init__(self, backend: Backend, metrics: Metrics, needs_keys: bool) -> None:
        self._backend = backend
        self._metrics = metrics
        self._needs_keys = needs_keys

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)  # what every caller may do

    @property
    def model_api(self) -> bool:
        """Whether the caller may register models: with a key to manage, or where everybody may."""
        facts = CURRENT.get()
        return (facts is not None and facts.manages) or self._backend.model_api

    async def predict(self, call: Call) -> Answer:
        facts = self._facts("predict", call.model)
        if facts is None:
            return await self._backend.predict(call)
        try:
            answer = await self._backend.predict(_traced(call, facts))
        except MarsmithError as error:
            facts.model = "unknown" if error.code in _UNKNOWN else call.model
            raise
        self._metrics.answered(call.model, answer)
        facts.model, facts.version = call.model, answer.version
        facts.queued, facts.computed, facts.batch = answer.queued, answer.computed, answer.batch
        return answer

    async def models(self) -> Sequence[Model]:
        facts = self._facts(None, None)
        found = await self._backend.models()
        return [model for model in found if facts is None or facts.sees(model.name)]

    async def describe(self, model: str, version: str | None = None) -> Model:
        self._facts(None, model)
        return await self._backend.describe(model, version)

    def archive(self, model: str, version: str | None = None) -> Archive | None:
        self._facts(None, model)
        return self._backend.archive(model, version)

    async def register(self, given: Registration) -> Model:
        # A key for one model must name it: an archive may have any name.
        self._facts("manage", given.model_name)
        return await asyncio.shield(self._backend.register(given))

    async def unregister(self, model: str, version: str | None = None) -> None:
        self._facts("manage", model)
        await asyncio.shield(self._backend.unregister(model, version))

    async def scale(self, model: str, *given: Any, **named: Any) -> Model:
        self._facts("manage", model)
        return await asyncio.shield(self._backend.scale(model, *given, **named))

    async def set_default(self, model: str, version: str) -> None:
        self._facts("manage", model)
        await asyncio.shield(self._backend.set_default(model, version))

    def events(self) -> AsyncIterator[Event]:
        self._facts("manage", None)
        return self._backend.events()

    def _facts(self, kind: ScopeKind | None, model: str | None) -> Facts | None:
        """Return the facts of the running task's request, if it may do this; None: know of it."""
        facts = CURRENT.get()
        if facts is None:
            if self._needs_keys:
                raise refusal("key-missing", scope="predict")
        elif kind is not None or not (model is None or facts.sees(model)):
            facts.require(kind or "predict", model)
        return facts


def _traced(call: Call, facts: Facts) -> Call:
    """Let the worker know the gateway's span, where the face did not pass it on."""
    headers, own = call.request.headers, facts.trace.header
    if own in headers.values():
        return call
    traced = {**headers, "Traceparent": own}
    return replace(call, request=replace(call.request, headers=traced))
