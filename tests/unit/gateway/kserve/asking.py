"""Ask KServe's faces in this process: a back end that answers as a function has it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from marsmith.answers.messages import Response
from marsmith.archive.reader import Archive
from marsmith.gateway.backend import Answer, Backend, Call
from marsmith.gateway.kserve import oip, v1
from tests.unit.gateway import backends
from tests.unit.gateway.backends import Models, Said, model

T = TypeVar("T")


def echoed(call: Call) -> Response:
    """Answer with the request's body, as JSON if it is some."""
    return Response(200, "OK", {}, call.request.body)


@dataclass
class Answering(Models):
    """A back end with one version 1.0 of one model m."""

    answer: Callable[[Call], Response] = echoed
    of: Archive | None = None
    up: bool = True
    delay: Callable[[Call], float] = lambda _: 0.0
    most: int = 0  # calls at once
    open: int = 0

    def __post_init__(self) -> None:
        only = model("m")
        self.served = [only if self.up else replace(only, workers=())]
        self.healthy = "Healthy" if self.up else "Unhealthy"

    async def predict(self, call: Call) -> Answer:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await asyncio.sleep(self.delay(call))
            self.says = self.answer(call)
            return await super().predict(call)
        finally:
            self.open -= 1

    def archive(self, model: str, version: str | None = None) -> Archive | None:  # noqa: ARG002
        return self.of if model == "m" else None


def ask(
    backend: Backend,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    method: str = "",
) -> Said:
    """Send one request to KServe's faces; a body that is not bytes is sent as JSON."""
    sent = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    routes = [*v1.routes(backend), *oip.routes(backend)]
    return backends.ask(routes, method or ("POST" if sent else "GET"), path, sent, headers)


def run(work: Awaitable[T]) -> T:
    """Run something in an event loop of its own."""

    async def main() -> T:
        return await work

    return asyncio.run(main())
