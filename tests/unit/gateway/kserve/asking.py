"""Ask faces in this process: a back end that answers as a function has it, and requests to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.applications import Starlette

from marsmith.answers.messages import Response
from marsmith.archive.reader import Archive
from marsmith.client.description import Model, Worker
from marsmith.gateway.backend import Answer, Backend, Call, Event, Health, Registration
from marsmith.gateway.kserve import oip, v1
from marsmith.gateway.refusals import model_unknown, version_unknown

T = TypeVar("T")


def echoed(call: Call) -> Response:
    """Answer with the request's body, as JSON if it is some."""
    return Response(200, "OK", {}, call.request.body)


@dataclass
class Answering:
    """A back end with one version 1.0 of one model m; `calls` are those that came."""

    answer: Callable[[Call], Response] = echoed
    of: Archive | None = None
    workers: int = 1
    rest: Sequence[bytes] = ()
    delay: Callable[[Call], float] = lambda _: 0.0
    calls: list[Call] = field(default_factory=list)
    most: int = 0  # calls at once
    open: int = 0
    name: str = "answering"
    model_api: bool = True

    async def start(self) -> None:
        """There is nothing to start."""

    async def stop(self) -> None:
        """There is nothing to stop."""

    async def predict(self, call: Call) -> Answer:
        await self.describe(call.model, call.version)
        self.calls.append(call)
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await asyncio.sleep(self.delay(call))
        finally:
            self.open -= 1
        parts = self._parts() if self.rest else None
        return Answer(self.answer(call), "1.0", rest=parts)

    async def _parts(self) -> AsyncIterator[bytes]:
        for part in self.rest:
            yield part

    async def models(self) -> Sequence[Model]:
        return [await self.describe("m")]

    async def describe(self, model: str, version: str | None = None) -> Model:
        if model != "m":
            raise model_unknown(model)
        if version not in (None, "1.0"):
            raise version_unknown(model, version or "")
        workers = tuple(Worker(str(one), "READY", 1, 0) for one in range(self.workers))
        return Model("m", "1.0", True, 1, 1, 1, 100, workers)

    async def register(self, given: Registration) -> Model:
        raise NotImplementedError

    async def unregister(self, model: str, version: str | None = None) -> None:
        raise NotImplementedError

    async def scale(
        self, model: str, version: str | None, least: int, most: int, *, wait: bool
    ) -> Model:
        raise NotImplementedError

    async def set_default(self, model: str, version: str) -> None:
        raise NotImplementedError

    async def health(self) -> Health:
        return "Healthy" if self.workers else "Unhealthy"

    async def events(self) -> AsyncIterator[Event]:
        yield Event("default", "m", "1.0")

    def archive(self, model: str, version: str | None = None) -> Archive | None:  # noqa: ARG002
        return self.of if model == "m" else None


@dataclass
class Got:
    """An answer over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def ask(
    backend: Backend,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    method: str = "",
) -> Got:
    """Send one request to KServe's faces; a body that is not bytes is sent as JSON."""
    sent = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    return run(_ask(backend, path, sent, headers or {}, method or ("POST" if sent else "GET")))


def run(work: Awaitable[T]) -> T:
    """Run something in an event loop of its own."""

    async def main() -> T:
        return await work

    return asyncio.run(main())


async def _ask(
    backend: Backend, path: str, body: bytes, headers: Mapping[str, str], method: str
) -> Got:
    app = Starlette(routes=[*v1.routes(backend), *oip.routes(backend)])
    got: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        got.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
    }
    await app(scope, receive, send)
    head, *parts = got
    said = {k.decode(): v.decode() for k, v in head["headers"]}
    return Got(head["status"], said, b"".join(part.get("body", b"") for part in parts))
