"""The back end `torchserve`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from marsmith.answers.messages import Response
from marsmith.archive.reader import Archive
from marsmith.client import Client, Model
from marsmith.core.errors import ClientError, RefusedError
from marsmith.gateway import refusals
from marsmith.gateway.backend import Answer, Call, Event, Health, Registration
from marsmith.gateway.refusals import GatewayError
from marsmith.gateway.served import Settings
from marsmith.gateway.torchserve.batches import Batches
from marsmith.gateway.torchserve.changes import changes
from marsmith.gateway.torchserve.prediction import Prediction
from marsmith.gateway.torchserve.servers import Servers
from marsmith.gateway.torchserve.targets import targets
from marsmith.project.project import Project

_DESCRIBE = 60.0  # seconds for a handler to describe its model
_NONE: Mapping[int, GatewayError] = {}
_DRAIN = 30.0  # seconds for open requests to end


class TorchServeBackend:
    """Passes requests on to running TorchServes, which do the work."""

    name = "torchserve"

    def __init__(self, settings: Settings) -> None:
        self.model_api = settings.model_api
        self._settings = settings
        self._project = Project(Path(settings.project))
        self._batches = Batches()
        self._servers: Servers
        self._watching: list[asyncio.Future[None]] = []
        self._background: set[asyncio.Future[Any]] = set()
        self._listeners: set[asyncio.Queue[Event]] = set()
        self._seen: Sequence[Model] = ()

    def folders(self) -> list[Path]:
        """Return the folders of those that are this project's servers."""
        return [one.target.folder for one in self._servers.all if one.target.folder is not None]

    async def start(self) -> None:
        """Connect. Raises ServerError if there is none, GatewayError if none answers."""
        self._servers = Servers(lambda: targets(self._settings), self._looked)
        await self._servers.refresh()
        self._watching = [asyncio.ensure_future(one.watch()) for one in self._servers.all]
        if all(one.reason for one in self._servers.all):
            raise self._servers.away()

    async def stop(self) -> None:
        """Let open requests end, and close all connections."""
        end = asyncio.get_running_loop().time() + _DRAIN
        while asyncio.get_running_loop().time() < end:
            if not any(one.open_requests for one in self._servers.all):
                break
            await asyncio.sleep(0.05)
        for task in self._watching:
            task.cancel()
        for server in self._servers.all:
            await server.close()

    async def predict(self, call: Call) -> Answer:
        """Answer a request."""
        if "describe" in call.request.headers:  # of a face; those of callers are capitalized
            return await self._described_by_handler(call)
        return await Prediction(call, self._servers, self._batches).answer()

    async def models(self) -> Sequence[Model]:
        """Describe all versions of all models."""
        await self._servers.refresh()
        return self._servers.models

    async def describe(self, model: str, version: str | None = None) -> Model:
        """Describe one version."""
        await self._servers.refresh()
        return self._servers.model(model, version)

    async def register(self, given: Registration) -> Model:
        """Register an archive with each TorchServe."""
        before = {(one.name, one.version) for one in await self.models()}
        values = asdict(given)
        url = values.pop("url")
        registered = refusals.already_registered(given.model_name or url, "")
        refused = {404: refusals.not_in_store(url), 409: registered}
        await self._change(lambda client: client.register(url, **values), refused)
        new = [one for one in await self.models() if (one.name, one.version) not in before]
        if not new:
            raise refusals.model_unknown(given.model_name or url)
        return new[0]

    async def unregister(self, model: str, version: str | None = None) -> None:
        """Unregister a version from each TorchServe."""
        known = await self.describe(model, version)
        await self._change(
            lambda client: client.unregister(model, version),
            {403: refusals.default_version(model, known.version)},
        )

    async def scale(
        self, model: str, version: str | None, least: int, most: int, *, wait: bool
    ) -> Model:
        """Set the bounds of a version's workers at each TorchServe."""
        known = await self.describe(model, version)
        scaling = asyncio.ensure_future(
            self._change(lambda client: client.scale(model, least, most, version=known.version))
        )
        self._background.add(scaling)
        scaling.add_done_callback(self._background.discard)
        if wait:
            await scaling
        return await self.describe(model, known.version)

    async def set_default(self, model: str, version: str) -> None:
        """Make a version the default one at each TorchServe."""
        await self.describe(model, version)
        await self._change(lambda client: client.set_default(model, version))

    async def health(self) -> Health:
        """Say whether all versions have the workers that they need, by the last look."""
        models = [model for one in self._servers.up for model in one.models]
        if not self._servers.up or any(one.min_workers and not one.ready_workers for one in models):
            return "Unhealthy"
        whole = all(one.ready_workers >= one.min_workers for one in models)
        return (
            "Healthy" if whole and all(one.up for one in self._servers.all) else "Partial Healthy"
        )

    async def events(self) -> AsyncIterator[Event]:
        """Yield what happens from now on."""
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)

    def archive(self, model: str, version: str | None = None) -> Archive | None:
        """Return a version's archive, if it is of a server of this project."""
        known = self._servers.model(model, version)
        found = (
            one.target.archive(self._project, model, known.version) for one in self._servers.all
        )
        return next(filter(None, found), None)

    async def _described_by_handler(self, call: Call) -> Answer:
        known = await self.describe(call.model, call.version)
        server = await self._servers.pick(call.deadline)

        def ask() -> Response:
            headers = {"Accept": "*/*"}
            return server.quick.describe_by_handler(call.model, known.version, headers, _DESCRIBE)

        said = await _in_thread(ask)
        body = said.body
        if isinstance(values := said.values, list):  # also with a handler's own status
            body = json.dumps(values[0].get("customizedMetadata")).encode()
        headers = {"content-type": said.headers.get("content-type", "")}
        return Answer(Response(said.status, said.reason, headers, body), known.version)

    async def _change(
        self, change: Callable[[Client], object], refused: Mapping[int, GatewayError] = _NONE
    ) -> None:
        """Change each TorchServe that answers; `refused` has the errors for its statuses."""
        for server in self._servers.up:
            try:
                await _in_thread(lambda: change(server.changes))  # noqa: B023 (awaited here)
            except RefusedError as error:
                other = GatewayError(error.message, error.hint, code="refused", status=error.status)
                raise refused.get(error.status, other) from error
        await self._servers.refresh()

    def _looked(self) -> None:
        models = self._servers.models
        for event in changes(self._seen, models):
            for queue in self._listeners:
                queue.put_nowait(event)
        self._seen = models


async def _in_thread(work: Callable[[], Any]) -> Any:
    """Do blocking work. Raises GatewayError where there is no answer."""
    try:
        return await asyncio.to_thread(work)
    except RefusedError:
        raise
    except ClientError as error:
        raise GatewayError(error.message, error.hint, code=error.code, status=503) from error
