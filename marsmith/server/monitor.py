"""The present state of a server: its models, as its front end lists them, and its metrics."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

import psutil

from marsmith.client import ONCE
from marsmith.client.description import Model
from marsmith.core.errors import ClientError
from marsmith.server.lookup import client_of
from marsmith.server.state import ServerState
from marsmith.torchserve.metrics import Figures
from marsmith.torchserve.metrics_text import Scrape, parse_metrics

_PATIENCE = 3.0  # seconds for an answer; a person waits for it


@dataclass(frozen=True)
class Glance:
    """The state of a server at one moment."""

    state: ServerState
    models: tuple[Model, ...] = ()
    figures: Figures | None = None  # None without metrics
    health: str | None = None
    trouble: str | None = None  # why it does not answer


class Watch:
    """Looks at one server repeatedly. Use it as a context manager."""

    def __init__(self, state: ServerState, window: float) -> None:
        """Figures are of the last `window` seconds, or since the last look if that was earlier;
        with 0, since the start of the server.
        """
        self._state, self._window = state, window
        self._scrapes: deque[tuple[float, Scrape]] = deque()
        self._client = client_of(state, _PATIENCE, ONCE, deadline=_PATIENCE)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def look(self) -> Glance:
        """Ask the server. What it does not answer is missing."""
        try:
            models = tuple(self._client.models())
            return Glance(self._state, models, self._figures(), self._client.health())
        except ClientError as error:
            return Glance(self._state, trouble=error.message)

    def _uptime(self) -> float:
        """Return the seconds since its front end started, which may have been restarted."""
        try:
            started = psutil.Process(self._state.front_end[0]).create_time()
        except psutil.Error:
            started = self._state.since
        return max(time.time() - started, 1.0)

    def _figures(self) -> Figures | None:
        try:
            now = parse_metrics(self._client.metrics())
        except ClientError:
            return None  # enable_metrics_api=false closes that port
        if not now.values:
            return None
        if not self._window:
            return Figures(now, None, self._uptime())
        moment = time.monotonic()
        while len(self._scrapes) > 1 and self._scrapes[1][0] <= moment - self._window:
            self._scrapes.popleft()
        self._scrapes.append((moment, now))
        begin, before = self._scrapes[0]
        return Figures(now, before, moment - begin) if moment > begin else None
