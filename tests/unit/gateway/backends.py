"""A back end of a few lines, and requests to faces over it, without sockets and workers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from marsmith.answers.messages import Response
from marsmith.archive.reader import Archive
from marsmith.client.description import Model, Worker
from marsmith.core.errors import MarsmithError
from marsmith.gateway.backend import Answer, Call, Event, Health, Registration
from marsmith.gateway.refusals import (
    already_registered,
    default_version,
    model_unknown,
    not_in_store,
    version_unknown,
)

WORKER = Worker("9000", "READY", 4711, 1 << 20, started=1.5)


def model(name: str, version: str = "1.0", *, default: bool = True) -> Model:
    """Return a version with one worker."""
    return Model(
        name, version, default, 1, 2, 4, 20, (WORKER,), f"{name}.mar", 30, remaining_capacity=100
    )


@dataclass
class Models:
    """Answers with what it was asked, or raises `fails`. Registers x.mar as version 1.0 of x."""

    served: list[Model] = field(default_factory=lambda: [model("echo")])
    fails: MarsmithError | None = None
    says: Response | None = None  # what its handler answers
    rest: Sequence[bytes | MarsmithError] = ()  # the parts after that
    model_api: bool = True
    healthy: Health = "Healthy"
    calls: list[Call] = field(default_factory=list)
    registered: list[Registration] = field(default_factory=list)
    scaled: list[tuple[int, int, bool]] = field(default_factory=list)
    name: str = "models"

    async def start(self) -> None:
        """There is nothing to start."""

    async def stop(self) -> None:
        """There is nothing to stop."""

    async def predict(self, call: Call) -> Answer:
        self.calls.append(call)
        if self.fails:
            raise self.fails
        version = (await self.describe(call.model, call.version)).version
        headers = {"content-type": "text/plain"}
        said = self.says or Response(200, "OK", headers, b"said " + call.request.body)
        return Answer(said, version, rest=_parts(self.rest) if self.rest else None)

    async def models(self) -> Sequence[Model]:
        return self.served

    async def describe(self, model: str, version: str | None = None) -> Model:
        versions = [one for one in self.served if one.name == model]
        if not versions:
            raise model_unknown(model)
        for one in versions:
            if one.version == version or (version is None and one.default):
                return one
        raise version_unknown(model, version or "")

    async def register(self, given: Registration) -> Model:
        self.registered.append(given)
        if not given.url.endswith(".mar"):
            raise not_in_store(given.url)
        added = model(given.model_name or given.url.removesuffix(".mar"))
        if any(one.name == added.name for one in self.served):
            raise already_registered(added.name, "1.0")
        workers = given.initial_workers or 0
        added = replace(added, min_workers=workers, max_workers=workers)
        self.served.append(added)
        return added

    async def unregister(self, model: str, version: str | None = None) -> None:
        gone = await self.describe(model, version)
        if gone.default and sum(one.name == model for one in self.served) > 1:
            raise default_version(model, gone.version)
        self.served.remove(gone)

    async def scale(
        self, model: str, version: str | None, least: int, most: int, *, wait: bool
    ) -> Model:
        self.scaled.append((least, most, wait))
        return await self.describe(model, version)

    async def set_default(self, model: str, version: str) -> None:
        await self.describe(model, version)
        self.served = [
            replace(one, default=one.version == version) if one.name == model else one
            for one in self.served
        ]

    async def health(self) -> Health:
        return self.healthy

    async def events(self) -> AsyncIterator[Event]:
        nothing: tuple[Event, ...] = ()
        for event in nothing:
            yield event

    def archive(self, model: str, version: str | None = None) -> Archive | None:  # noqa: ARG002
        return None


async def _parts(rest: Sequence[bytes | MarsmithError]) -> AsyncIterator[bytes]:
    for part in rest:
        if isinstance(part, MarsmithError):
            raise part
        yield part


@dataclass(frozen=True)
class Said:
    """What a face answered."""

    status: int
    headers: Mapping[str, str]
    parts: tuple[bytes, ...]
    ended: bool  # else the server cuts the connection

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    application: Sequence[BaseRoute] | ASGIApp,
    method: str,
    url: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> Said:
    """Send one request to an application, or one of these routes, as uvicorn does."""
    path, _, query = url.partition("?")
    pairs = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": pairs,
        "server": ("127.0.0.1", 8080),
        "client": ("127.0.0.1", 50000),
    }
    sent: list[Any] = []

    bodies = iter([body])

    async def receive() -> Any:
        for one in bodies:
            return {"type": "http.request", "body": one, "more_body": False}
        return await asyncio.Event().wait()  # the caller stays

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        app = application if callable(application) else Starlette(routes=application)
        await app(scope, receive, send)

    asyncio.run(run())
    start, *parts = sent
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    bodies_sent = tuple(one["body"] for one in parts if one["body"])
    return Said(start["status"], found, bodies_sent, not parts[-1].get("more_body", False))
