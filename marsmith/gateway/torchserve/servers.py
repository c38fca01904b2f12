"""The TorchServes behind a gateway, as one: who gets a request, and what they serve together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from marsmith.client import Model
from marsmith.core.errors import MarsmithError
from marsmith.gateway.backend import Call
from marsmith.gateway.refusals import GatewayError, model_unknown, version_unknown
from marsmith.gateway.torchserve.outcomes import no_token, server_away
from marsmith.gateway.torchserve.targets import Target
from marsmith.gateway.torchserve.upstream import Upstream

_Key = tuple[str, str]  # a model and its version


class Servers:
    """All of them."""

    def __init__(self, targets: Callable[[], list[Target]], changed: Callable[[], None]) -> None:
        """`targets` returns how to reach them now."""
        self._targets = targets
        self._changed = changed
        self._back = asyncio.Event()
        self._turn = 0
        self.all = [Upstream(target, self._find, self._looked) for target in targets()]
        self._models: dict[_Key, Model] = {}
        self._defaults: dict[str, Model] = {}

    @property
    def up(self) -> list[Upstream]:
        """Those that answer."""
        return [one for one in self.all if one.up]

    async def pick(self, until: float) -> Upstream:
        """Return the one with the fewest open requests, in turns.

        If all are away, it waits for one. Raises GatewayError if none is back by `until`.
        """
        while not (up := self.up):
            self._back.clear()
            try:
                await asyncio.wait_for(self._back.wait(), until - time.monotonic())
            except asyncio.TimeoutError as error:
                raise self.away() from error
        self._turn += 1
        start = self._turn % len(up)
        return min((*up[start:], *up[:start]), key=lambda one: one.open_requests)

    def away(self) -> GatewayError:
        """Return why none answers."""
        first = self.all[0]
        url = first.target.url
        return no_token(url) if first.wants_token else server_away(url, first.reason)

    @property
    def models(self) -> list[Model]:
        """What they serve, sorted; the workers of a version on all of them."""
        return sorted(self._models.values(), key=lambda one: (one.name, one.version))

    def model(self, name: str, version: str | None) -> Model:
        """Return a version, by default the default one. Raises GatewayError."""
        found = self._defaults.get(name) if version is None else self._models.get((name, version))
        if found is None:
            known = name in self._defaults and version is not None
            raise version_unknown(name, version or "") if known else model_unknown(name)
        return found

    def version_of(self, call: Call) -> str:
        """Return the version that answers a request, as far as is known."""
        default = self._defaults.get(call.model)
        return call.version or (default.version if default else "")

    def known(self, call: Call) -> Model | None:
        """Return the version that answers a request as the last look found it, if it did."""
        return self._models.get((call.model, self.version_of(call)))

    def _find(self, url: str) -> Target | None:
        """Return how one is reached that may have been started anew, with other keys."""
        with suppress(MarsmithError):  # none runs
            return next((one for one in self._targets() if one.url == url), None)
        return None

    async def refresh(self) -> None:
        """Look at all that answer, now."""
        await asyncio.gather(*(one.look() for one in self.up))
        self._looked()

    def _looked(self) -> None:
        models: dict[_Key, Model] = {}
        for server in self.up:
            for model in server.models:
                key = model.name, model.version
                if (before := models.get(key)) is not None:
                    model = replace(before, workers=(*before.workers, *model.workers))
                models[key] = model
        if self.up:
            self._back.set()
            self._models = models
            self._defaults = {one.name: one for one in models.values() if one.default}
        self._changed()
