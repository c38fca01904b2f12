"""Which versions a server serves: what a restart must bring back.

The record is beside the server's state, in `.marsmith/servers/PORT`. Deployed versions stay in
it; others only for as long as the server runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace

from marsmith.client import Model
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import ServerError
from marsmith.core.file_lock import locked, locked_within
from marsmith.project.project import Project
from marsmith.server.state import server_folder, server_path

_RECORD = "versions.json"
_LOCK = "versions.lock"


@dataclass(frozen=True)
class Version:
    """One version of a model, as it is served. Times are in seconds since the epoch."""

    name: str
    version: str
    file: str  # of the model store
    sha256: str  # empty if it was registered past Marsmith
    since: float = field(default_factory=time.time)  # when it was registered
    default: bool = False
    min_workers: int = 0
    max_workers: int = 0
    batch_size: int = 0
    max_batch_delay: int = 0  # ms
    response_timeout: int = 0  # seconds
    default_since: float = 0.0  # when it last became the default version; 0: never
    deployed: bool = False  # whether it is served again after a stop
    signed_by: str | None = None  # the fingerprint of the key that verified it


Record = tuple[Version, ...]


def read_record(project: Project, port: int) -> Record:
    """Return what the server on `port` serves or should serve. Raises ServerError if damaged."""
    path = server_path(project, port) / _RECORD
    try:
        return tuple(Version(**values) for values in json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError) as error:
        raise ServerError(
            f"{path} cannot be read: {error}",
            "start the server with --fresh, which serves what is built",
            code="damaged-record",
        ) from error


def write_record(project: Project, port: int, record: Record) -> None:
    """Write the record, whole or not at all; an empty one is removed. Raises OSError."""
    path = server_folder(project, port) / _RECORD
    if not record:
        path.unlink(missing_ok=True)
        return
    with replacing(path, 0o600) as file:
        ordered = sorted(record, key=lambda one: (one.name, one.since))
        file.write(json.dumps([asdict(one) for one in ordered], indent=1).encode())


def recording(project: Project, port: int) -> AbstractContextManager[None]:
    """Lock what the server on `port` serves against other changes; waits for them to end."""
    return locked(server_folder(project, port) / _LOCK)


def recording_within(
    project: Project, port: int, patience: float = 0.0
) -> AbstractContextManager[bool]:
    """Lock it if that is possible within so many seconds; says whether it was."""
    return locked_within(server_folder(project, port) / _LOCK, patience)


def deployed(record: Iterable[Version]) -> Record:
    """Return what is served again after a stop."""
    return tuple(one for one in record if one.deployed)


def of(record: Iterable[Version], name: str) -> Record:
    """Return the versions of one model."""
    return tuple(one for one in record if one.name == name)


def default_of(record: Iterable[Version], name: str) -> Version | None:
    """Return a model's default version."""
    return next((one for one in of(record, name) if one.default), None)


def previous(record: Iterable[Version], name: str) -> Version | None:
    """Return the version that was the default before, if it is kept."""
    kept = [one for one in of(record, name) if not one.default and one.default_since]
    return max(kept, key=lambda one: one.default_since, default=None)


def observed(record: Record, models: Iterable[Model]) -> Record:
    """Return the record as the management API describes the server: workers and defaults.

    Versions that were registered past Marsmith are added, unregistered ones are removed. One that
    was registered anew from another file is not the recorded one.
    """
    known = {(one.name, one.version, one.file): one for one in record}
    lasting = {one.name for one in deployed(record)}
    return tuple(
        _observed(known.get((model.name, model.version, model.url)), model, model.name in lasting)
        for model in models
    )


def _observed(known: Version | None, model: Model, lasting: bool) -> Version:
    version = known or Version(model.name, model.version, model.url, "", deployed=lasting)
    became = model.default and not version.default
    return replace(
        version,
        default=model.default,
        default_since=time.time() if became else version.default_since,
        min_workers=model.min_workers,
        max_workers=model.max_workers,
        batch_size=model.batch_size,
        max_batch_delay=model.max_batch_delay,
        response_timeout=model.response_timeout,
    )


def snapshot(record: Iterable[Version]) -> str:
    """Return it as TorchServe's `model_snapshot` (SnapshotManager.java, Model.java).

    It overrides the model-config of an archive, and applies before the first port is open.
    """
    models: dict[str, dict[str, dict[str, object]]] = {}
    for one in record:
        models.setdefault(one.name, {})[one.version] = {
            "defaultVersion": one.default,
            "marName": one.file,
            "minWorkers": one.min_workers,
            "maxWorkers": one.max_workers,
            "batchSize": one.batch_size,
            "maxBatchDelay": one.max_batch_delay,
            "responseTimeout": one.response_timeout,
        }
    values = {"name": "marsmith", "modelCount": len(models), "created": 0, "models": models}
    return json.dumps(values)
