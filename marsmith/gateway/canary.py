"""A new version on trial: it gets a share of the requests that name no version.

`marsmith deploy --canary` writes the routes and judges; the gateway, which every caller's requests
pass, takes the share, compares and reports (deploy/canary_routes.py).
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from marsmith.answers.samples import difference
from marsmith.core.atomic_write import replacing
from marsmith.deploy.canary_routes import (
    REPORTS,
    ROUTES_FILE,
    Report,
    Route,
    format_report,
    parse_routes,
    takes,
)
from marsmith.gateway.backend import Answer, Backend, Call
from marsmith.gateway.refusals import GatewayError

_COMPARED = 0.25  # of the canary's requests: both versions get them
_LOOK = 0.25  # seconds between two looks for routes, and between two reports


def with_canaries(backend: Backend, folders: Callable[[], Iterable[Path]]) -> Backend:
    """Return a back end that takes part in canaries; `folders` are those of the servers."""
    return cast(Backend, _Canaries(backend, folders))


class _Trial:
    """One canary."""

    def __init__(self, model: str, route: Route, folder: Path) -> None:
        self.model = model
        self.route = route
        self.report = Report()
        self._path = folder / REPORTS.replace("*", str(os.getpid()))
        self._written = b""

    def write(self) -> None:
        """Report what has changed; the file also says that a gateway takes part."""
        report = format_report(self.model, self.route.version, self.report)
        if report != self._written:
            with suppress(OSError), replacing(self._path, 0o600) as file:  # the next one may do
                file.write(report)
                self._written = report


class _Canaries:
    def __init__(self, backend: Backend, folders: Callable[[], Iterable[Path]]) -> None:
        self._backend = backend
        self._folders = folders
        self._trials: dict[str, _Trial] = {}
        self._following: asyncio.Future[None] | None = None
        self._comparing: set[asyncio.Future[None]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    async def start(self) -> None:
        await self._backend.start()
        self._following = asyncio.ensure_future(self._follow())

    async def stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
        await self._backend.stop()

    async def predict(self, call: Call) -> Answer:
        trial = self._trials.get(call.model) if self._trials and call.version is None else None
        if trial is None:
            return await self._backend.predict(call)
        if not takes(trial.route, random.random(), time.time()):  # noqa: S311 (no secret)
            return await self._usual(trial, call)
        tried = None
        with suppress(GatewayError):
            tried = await self._tried(trial, call)
        if tried is None or not tried.response.ok:
            usual = await self._usual(trial, call)
            trial.report.failed += usual.response.ok  # else the request itself is wrong
            return usual
        if tried.rest is None and random.random() < _COMPARED:  # noqa: S311 (no secret)
            comparing = asyncio.ensure_future(self._compare(trial, call, tried))
            self._comparing.add(comparing)  # asyncio holds tasks weakly
            comparing.add_done_callback(self._comparing.discard)
        return tried

    async def _tried(self, trial: _Trial, call: Call) -> Answer:
        begun = time.monotonic()
        half = math.inf if math.isinf(call.deadline) else (begun + call.deadline) / 2
        answer = await self._backend.predict(
            replace(call, version=trial.route.version, deadline=half)
        )
        trial.report.requests += 1
        trial.report.seconds += time.monotonic() - begun
        return answer

    async def _usual(self, trial: _Trial, call: Call) -> Answer:
        begun = time.monotonic()
        answer = await self._backend.predict(call)
        trial.report.usual_requests += 1
        trial.report.usual_seconds += time.monotonic() - begun
        return answer

    async def _compare(self, trial: _Trial, call: Call, tried: Answer) -> None:
        with suppress(GatewayError):
            usual = await self._usual(trial, call)
            bodies = usual.response.body, tried.response.body
            bounds = trial.route.tolerance, trial.route.largest
            agree = usual.response.ok and not await asyncio.to_thread(difference, *bodies, *bounds)
            trial.report.alike += agree
            trial.report.other += not agree

    async def _follow(self) -> None:
        while True:
            self._look()
            for trial in self._trials.values():
                trial.write()
            await asyncio.sleep(_LOOK)

    def _look(self) -> None:
        found: dict[str, _Trial] = {}
        for folder in self._folders():
            with suppress(OSError):  # usually there is none
                routes = parse_routes((folder / ROUTES_FILE).read_text(encoding="utf-8"))
                for model, route in routes.items():
                    known = self._trials.get(model)
                    same = known is not None and known.route == route
                    found[model] = known if known and same else _Trial(model, route, folder)
        self._trials = found
