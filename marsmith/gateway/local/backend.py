# ruff: noqa: ARG002
"""The local back end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from marsmith.archive.private_copy import PrivateCopy
from marsmith.archive.reader import Archive
from marsmith.client.description import Model, Worker
from marsmith.gateway.backend import Answer, Call, Event, Health, Registration
from marsmith.gateway.refusals import GatewayError, model_unknown, version_unknown
from marsmith.gateway.served import Settings
from marsmith.worker.runtime import Runtime


class LocalBackend:
    """Runs archives in workers of its own. For now one each, without batches."""

    name = "local"

    def __init__(self, settings: Settings) -> None:
        archives = [
            PrivateCopy(Path(settings.store) / one.file, one.name) for one in settings.served
        ]
        self._archives = {archive.name: archive for archive in archives}
        self._workers: dict[str, Runtime] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def start(self) -> None:
        for name, archive in self._archives.items():
            runtime = Runtime(archive)
            await asyncio.to_thread(runtime.start)
            self._workers[name], self._locks[name] = runtime, asyncio.Lock()

    async def stop(self) -> None:
        for runtime in self._workers.values():
            await asyncio.to_thread(runtime.stop)

    async def predict(self, call: Call) -> Answer:
        model = await self.describe(call.model, call.version)
        async with self._locks[call.model]:
            runtime = self._workers[call.model]
            (said,) = await asyncio.to_thread(runtime.predict_batch, [call.request])
        return Answer(said, model.version)

    async def models(self) -> Sequence[Model]:
        return [await self.describe(name) for name in sorted(self._archives)]

    async def describe(self, model: str, version: str | None = None) -> Model:
        archive = self._archives.get(model)
        if archive is None:
            raise model_unknown(model)
        served = archive.manifest.model_version or ""
        if version not in (None, served):
            raise version_unknown(model, version or "")
        worker = Worker("9000", "READY", self._workers[model].pid or 0, 0)
        return Model(model, served, True, 1, 1, 1, 100, (worker,), f"{model}.mar", 120)

    async def register(self, given: Registration) -> Model:
        raise self._not_yet()

    async def unregister(self, model: str, version: str | None = None) -> None:
        raise self._not_yet()

    async def scale(
        self, model: str, version: str | None, least: int, most: int, *, wait: bool
    ) -> Model:
        raise self._not_yet()

    async def set_default(self, model: str, version: str) -> None:
        raise self._not_yet()

    async def health(self) -> Health:
        return "Healthy"

    async def events(self) -> AsyncIterator[Event]:
        nothing: tuple[Event, ...] = ()
        for event in nothing:
            yield event

    def archive(self, model: str, version: str | None = None) -> Archive | None:
        return self._archives.get(model)

    def _not_yet(self) -> GatewayError:
        return GatewayError("not yet", "wait", code="not-yet", status=501)
