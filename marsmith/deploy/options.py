"""Options of `deploy`, `rollback` and `undeploy`; no IO."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from marsmith.server.options import DEFAULT_TIMEOUT


@dataclass(frozen=True)
class ChangeOptions:
    """Which server is changed, and how long a step may take."""

    port: int | None = None  # None: the project's one server
    timeout: float = DEFAULT_TIMEOUT  # seconds for a model to load, and for a request


@dataclass(frozen=True)
class CanaryOptions:
    """How a new version is tried before it becomes the default one."""

    share: float  # 0…1 of the requests
    seconds: float = 30.0
    wait: float = 0.0  # seconds more, for as long as there were too few requests to tell
    agreement: float = 0.0  # the share 0…1 of compared answers that must agree


@dataclass(frozen=True)
class DeployOptions(ChangeOptions):
    """How an archive is deployed."""

    version: str | None = None  # instead of the one in its manifest
    public_key: Path | None = None  # the archive must be signed with its private key
    keep: int = 1  # how many versions besides the default one stay, for rollbacks
    workers: tuple[int, int] | None = None  # None: as many as the default version has
    canary: CanaryOptions | None = None
    checked: bool = True  # whether `check` proves it before the server is touched
