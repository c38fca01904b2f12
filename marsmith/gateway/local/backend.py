"""The local back end: archives in workers of the gateway's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from marsmith.archive.private_copy import PrivateCopy
from marsmith.archive.reader import Archive
from marsmith.client.description import Model
from marsmith.core.errors import MarsmithError
from marsmith.core.worker_bounds import bounds_problem
from marsmith.gateway.backend import Answer, Call, Event, Health, Registration
from marsmith.gateway.keeping import Kept
from marsmith.gateway.local.models import Models
from marsmith.gateway.local.starting import Starter, Workshop, number_of
from marsmith.gateway.local.version import ServedVersion
from marsmith.gateway.refusals import GatewayError, not_in_store
from marsmith.gateway.served import Served, Settings
from marsmith.server.start_plan import version_of

_QUEUE = 100  # requests; TorchServe's own (ConfigManager.java)


class LocalBackend:
    """Runs archives in workers of its own."""

    name = "local"

    def __init__(self, settings: Settings) -> None:
        """Prepare to serve what the settings name."""
        self._settings = settings
        self.model_api = settings.model_api
        self._store = Path(settings.store)
        self._models = Models()
        self._known = asyncio.Event()  # set when all that is served has its place there
        self._shop = Workshop(settings)
        self._listeners: set[asyncio.Queue[Event]] = set()

    async def start(self) -> None:
        """Serve what the settings name.

        Raises WorkerError with the true cause, unless it was served before: then a model that
        cannot be loaded now takes no other from its callers.
        """
        try:
            await self._start_versions()
        finally:
            self._known.set()
        ends = [one.pool.settled() for one in self._models.all()]
        await asyncio.gather(*ends, return_exceptions=self._settings.again)

    async def _start_versions(self) -> None:
        kept: dict[tuple[str, str], list[Kept]] = {}
        for one in self._shop.take_back():
            kept.setdefault((one.about["model"], one.about["file"]), []).append(one)
        for served in self._settings.served:
            left = kept.pop((served.name, served.file), [])
            archive = await asyncio.to_thread(PrivateCopy, self._store / served.file, served.name)
            folder = left[0].about["folder"] if left else None
            made = await self._made(archive, served, unpacked=folder)
            self._models.add(made, default=served.default)
            made.pool.start(left)
        for one in (one for left in kept.values() for one in left):
            self._shop.give_up(one)

    async def stop(self) -> None:
        """Let open requests end, then end all workers."""
        await asyncio.gather(*(one.close() for one in self._models.all()))
        self._shop.close()

    async def predict(self, call: Call) -> Answer:
        """Answer a request."""
        return await (await self._find(call.model, call.version)).answer(call)

    async def models(self) -> Sequence[Model]:
        """Describe all versions."""
        return [self._described(one) for one in self._models.all()]

    async def describe(self, model: str, version: str | None = None) -> Model:
        """Describe a version."""
        return self._described(await self._find(model, version))

    async def register(self, given: Registration) -> Model:
        """Serve an archive of the store."""
        path = self._store / given.url
        if path.parent != self._store or not path.is_file():
            raise not_in_store(given.url)
        try:
            made = await self._registered(path, given)
        except GatewayError:
            raise
        except MarsmithError as error:
            raise GatewayError(error.message, error.hint, code=error.code, status=400) from error
        self._tell(Event("registered", made.name, made.version))
        made.pool.start()
        if given.synchronous:
            await _settled(made)
        return self._described(made)

    async def _registered(self, path: Path, given: Registration) -> ServedVersion:
        name = given.model_name or Archive(path).manifest.model_name
        archive = await asyncio.to_thread(PrivateCopy, path, name)
        self._models.require_new(name, archive.manifest.model_version or "")
        served = Served(
            name,
            path.name,
            min_workers=given.initial_workers,
            max_workers=given.initial_workers,
            batch_size=given.batch_size,
            max_batch_delay=given.max_batch_delay,
            response_timeout=given.response_timeout,
        )
        made = await self._made(archive, served, given.startup_timeout)
        self._models.require_new(made.name, made.version)  # nobody was faster
        self._models.add(made)
        made.loaded_at_startup = False
        return made

    async def unregister(self, model: str, version: str | None = None) -> None:
        """End a version, once its open requests have ended."""
        served = await self._find(model, version)
        self._models.remove(served)
        self._tell(Event("unregistered", served.name, served.version))
        await served.close()

    async def scale(
        self, model: str, version: str | None, least: int, most: int, *, wait: bool
    ) -> Model:
        """Set the bounds of a version's workers."""
        served = await self._find(model, version)
        if problem := bounds_problem(least, most):
            hint = "correct the two numbers"
            raise GatewayError(problem, hint, code="bad-worker-count", status=400)
        served.pool.set_bounds(least, most)
        self._tell(Event("scaled", served.name, served.version, f"{least}-{most}"))
        if wait:
            await _settled(served)
        return self._described(served)

    async def set_default(self, model: str, version: str) -> None:
        """Let a version answer the requests that name none."""
        served = await self._find(model, version)
        self._models.set_default(served)
        self._tell(Event("default", served.name, served.version))

    async def health(self) -> Health:
        """Say whether all versions have the workers that they need at least."""
        needy = [one.pool for one in self._models.all() if one.pool.least]
        if any(not pool.ready for pool in needy):
            return "Unhealthy"
        return "Partial Healthy" if any(one.ready < one.least for one in needy) else "Healthy"

    async def events(self) -> AsyncIterator[Event]:
        """Yield what happens from now on."""
        listener: asyncio.Queue[Event] = asyncio.Queue()
        self._listeners.add(listener)
        try:
            while True:
                yield await listener.get()
        finally:
            self._listeners.discard(listener)

    def archive(self, model: str, version: str | None = None) -> Archive | None:
        """Return a version's archive."""
        return self._models.find(model, version).archive

    async def _find(self, model: str, version: str | None = None) -> ServedVersion:
        """Return a version. While this process starts, callers of an earlier one may ask."""
        if not self._known.is_set():
            await self._known.wait()
        return self._models.find(model, version)

    async def _made(
        self,
        archive: Archive,
        served: Served,
        startup_timeout: int | None = None,
        unpacked: str | None = None,
    ) -> ServedVersion:
        given = version_of(archive, self._settings.properties)
        told = replace(given, **_told(served))
        told = replace(told, max_workers=max(told.min_workers, told.max_workers))
        starter = await asyncio.to_thread(
            Starter, self._shop, archive, told, startup_timeout, unpacked
        )
        queue = number_of(self._settings.properties, "job_queue_size", _QUEUE)
        queue = number_of(archive.model_config, "jobQueueSize", queue)
        return ServedVersion(starter, queue, self._tell)

    def _described(self, served: ServedVersion) -> Model:
        return served.describe(default=self._models.is_default(served))

    def _tell(self, event: Event) -> None:
        for listener in self._listeners:
            listener.put_nowait(event)


async def _settled(served: ServedVersion) -> None:
    """Wait for a version's workers. Raises GatewayError if they cannot load the model."""
    try:
        await served.pool.settled()
    except MarsmithError as error:
        raise GatewayError(error.message, error.hint, code=error.code, status=500) from error


def _told(served: Served) -> Mapping[str, Any]:
    """Return what is told about a version instead of left to its archive."""
    values = {
        "min_workers": served.min_workers,
        "max_workers": served.max_workers,
        "batch_size": served.batch_size,
        "max_batch_delay": served.max_batch_delay,
        "response_timeout": served.response_timeout,
    }
    return {name: value for name, value in values.items() if value is not None}
