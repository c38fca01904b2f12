"""Makes versions to serve from archives: unpacked, with what their workers need."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from marsmith.archive.reader import Archive
from marsmith.gateway.backend import Event
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


class VersionMaker:
    """Makes served versions of a gateway."""

    def __init__(self, settings: Settings) -> None:
        self._properties = settings.properties
        self._folder = Path(settings.folder)
        self._accepted = accepted_by(Project(Path(settings.project)))
        log_folder = Path(settings.log_folder)
        self._log = WorkersLog(log_folder / WORKERS_LOG)
        self._forks = ForkServers(self._folder, log_folder, os.getppid())

    async def make(
        self,
        archive: Archive,
        serving: Version,
        tell: Callable[[Event], None],
        startup_timeout: int | None = None,
    ) -> ServedVersion:
        """Unpack an archive to be served; no worker is started yet. Raises ArchiveError."""
        config = archive.model_config
        envelope = self._properties.get("service_envelope", "").strip()
        envelope = envelope or archive.manifest.envelope or ""
        waits = _number(self._properties, "default_startup_timeout", _STARTUP_TIMEOUT)
        starter = Starter(
            archive,
            await asyncio.to_thread(unpack, archive, self._folder, self._accepted),
            uses_torchserve(archive, envelope),
            serving.batch_size,
            envelope,
            startup_timeout or _number(config, "startupTimeout", waits),
            serving.response_timeout,
            self._forks,
            self._log,
        )
        most = _number(self._properties, "job_queue_size", _QUEUE_LIMIT)
        return ServedVersion(serving, starter, _number(config, "jobQueueSize", most), tell)

    def close(self) -> None:
        """End what workers are forked from."""
        self._forks.stop()


def _number(values: Mapping[str, Any], key: str, default: int) -> int:
    """Return a whole number above 0, of a model-config or of config.properties."""
    value = values.get(key)
    value = int(value) if isinstance(value, str) and value.isdecimal() else value
    return value if isinstance(value, int) and value > 0 else default
