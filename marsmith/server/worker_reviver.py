"""Start workers again that TorchServe gave up, or retries only after long pauses.

It pauses for up to half an hour between two tries, and gives up after five minutes
(WorkerThread.java: BACK_OFF, isHealthy; `maxRetryTimeoutInSec`). The cause may be gone by then: a
missing file, a full disk, memory that another process used.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from marsmith.client import Client, Model
from marsmith.core.errors import ClientError

PATIENCE = 30.0  # seconds for TorchServe's own tries: its first seven pauses are shorter


@dataclass
class Reviver:
    """Remembers since when a version has no worker, neither up nor starting."""

    client: Client  # its timeout bounds each look
    patience: float = PATIENCE
    _gone_since: dict[tuple[str, str], float] = field(default_factory=dict, init=False)
    # Scaled to 0, and not seen with workers since.
    _owed: dict[tuple[str, str], Model] = field(default_factory=dict, init=False)

    def look(self, models: Iterable[Model]) -> None:
        """Start workers of versions that had none for too long. Errors show at the next look."""
        known = {(one.name, one.version): one for one in models}
        for key, owed in list(self._owed.items()):
            if key in known and not known[key].min_workers:
                self._scale(owed, owed.min_workers, owed.max_workers)
            else:
                del self._owed[key]
        gone = {key: one for key, one in known.items() if _is_gone(one)}
        now = time.monotonic()
        self._gone_since = {key: self._gone_since.get(key, now) for key in gone}
        for key, since in list(self._gone_since.items()):
            if now - since > self.patience:
                self._revive(gone[key])
                del self._gone_since[key]

    def _revive(self, model: Model) -> None:
        # TorchServe forgets the pauses of a worker only if it is scaled away and back.
        self._owed[model.name, model.version] = model
        self._scale(model, 0, 0)
        self._scale(model, model.min_workers, model.max_workers)

    def _scale(self, model: Model, least: int, most: int) -> None:
        with suppress(ClientError):  # they are not up yet, and need not be
            self.client.scale(model.name, least, most, 0.0, version=model.version)


def _is_gone(model: Model) -> bool:
    """Say whether a version should have workers, and has none, not even a loading one."""
    running = any(one.pid > 0 and psutil.pid_exists(one.pid) for one in model.workers)
    return model.min_workers > 0 and not model.ready_workers and not running
