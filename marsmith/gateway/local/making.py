"""Makes versions to serve from archives: unpacked, with what their workers need."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from marsmith.archive.reader import Archive
from marsmith.gateway.backend import Event
from marsmith.gateway.keeping import KeeperClient, Kept
from marsmith.gateway.local.forking import ForkServers
from marsmith.gateway.local.starting import Starter
from marsmith.gateway.local.version import ServedVersion
from marsmith.gateway.local.worker_log import WorkersLog
from marsmith.gateway.served import Settings
from marsmith.project.accepted_code import accepted_by
from marsmith.project.project import Project
from marsmith.server.process import WORKERS_LOG
from marsmith.server.version_record import Version
from marsmith.worker.choice import uses_torchserve
from marsmith.worker.command import unpack

_QUEUE_LIMIT = 100  # requests; TorchServe's own, as the value below (ConfigManager.java)
_STARTUP_TIMEOUT = 120  # seconds
_FIRST_NUMBER = 9000  # of workers, as TorchServe counts them


class VersionMaker:
    """Makes served versions of a gateway."""

    def __init__(self, settings: Settings) -> None:
        self._properties = settings.properties
        self._folder = Path(settings.folder)
        self._accepted = accepted_by(Project(Path(settings.project)))
        log_folder = Path(settings.log_folder)
        self._log = WorkersLog(log_folder / WORKERS_LOG)
        self._forks = ForkServers(self._folder, log_folder, os.getppid())
        self._keeper = KeeperClient(settings.keeper)
        self._numbers = itertools.count(_FIRST_NUMBER)

    def take_back(self) -> list[Kept]:
        """Return the workers that an earlier web process has left."""
        kept = self._keeper.take_back()
        self._numbers = itertools.count(max((one.id + 1 for one in kept), default=_FIRST_NUMBER))
        return kept

    def give_up(self, kept: Kept) -> None:
        """End a worker that is not needed."""
        for one in kept.descriptors:
            os.close(one)
        self._keeper.forget(kept.id)

    async def make(
        self,
        archive: Archive,
        serving: Version,
        tell: Callable[[Event], None],
        startup_timeout: int | None = None,
        unpacked: str | None = None,
    ) -> ServedVersion:
        """Unpack an archive to be served; no worker is started yet. Raises ArchiveError.

        `unpacked` is where it has been unpacked for workers that live on.
        """
        config = archive.model_config
        envelope = self._properties.get("service_envelope", "").strip()
        envelope = envelope or archive.manifest.envelope or ""
        waits = _number(self._properties, "default_startup_timeout", _STARTUP_TIMEOUT)
        starter = Starter(
            archive,
            Path(unpacked) if unpacked else await self._unpacked(archive),
            uses_torchserve(archive, envelope),
            serving.batch_size,
            envelope,
            startup_timeout or _number(config, "startupTimeout", waits),
            serving.response_timeout,
            self._forks,
            self._log,
            self._keeper,
            self._numbers,
            serving.file,
        )
        most = _number(self._properties, "job_queue_size", _QUEUE_LIMIT)
        return ServedVersion(serving, starter, _number(config, "jobQueueSize", most), tell)

    async def _unpacked(self, archive: Archive) -> Path:
        return await asyncio.to_thread(unpack, archive, self._folder, self._accepted)

    def close(self) -> None:
        """End what workers are forked from."""
        self._forks.stop()
        self._keeper.close()


def _number(values: Mapping[str, Any], key: str, default: int) -> int:
    """Return a whole number above 0, of a model-config or of config.properties."""
    value = values.get(key)
    value = int(value) if isinstance(value, str) and value.isdecimal() else value
    return value if isinstance(value, int) and value > 0 else default
