"""Since when versions have no worker that is up; no IO.

TorchServe starts a worker that ended again, and describes it as UNLOADING, LOADING or the like
until it answers. Callers wait that long, but not for one that stays down.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from marsmith.client import Model
from marsmith.client.workers_up import Down

AWAY = 10.0  # seconds that a request waits for what is started again: workers, or a front end

Key = tuple[str, str | None]  # a model and its version; None: the default one


class Downtime:
    """That of the versions of one TorchServe. Times are of time.monotonic()."""

    def __init__(self) -> None:
        self._since: dict[Key, float] = {}
        self._last: dict[Key, float] = {}

    def looked(self, models: Iterable[Model], now: float) -> None:
        """Take up what a look found that began `now`."""
        down = {key for one in models if not one.ready_workers for key in _keys(one)}
        self._since = {key: self._since.get(key, now) for key in down}
        self._last.update(dict.fromkeys(down, now))

    def is_up(self, key: Key) -> None:
        """Take up that a worker was up just now."""
        self._since.pop(key, None)

    def ends_waiting(self, key: Key, down: Down, now: float) -> bool:
        """Take up that no worker is up; say whether nobody waits for one any longer."""
        self._last[key] = max(down.at, self._last.get(key, -math.inf))
        return now >= self._since.setdefault(key, down.at) + AWAY or not down.starting

    def last_seen(self, key: Key) -> float:
        """Return when no worker was up for the last time."""
        return self._last.get(key, -math.inf)


def _keys(model: Model) -> Iterator[Key]:
    yield model.name, model.version
    if model.default:
        yield model.name, None
