"""What a server begins with: archives as they are built, or versions as they were deployed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from marsmith.archive.reader import Archive
from marsmith.core.errors import ArchiveError, ProjectError
from marsmith.project.project import Project
from marsmith.server.pinned_archives import PlacedArchive, pin
from marsmith.server.version_record import (
    Record,
    Version,
    deployed,
    of,
    path_of,
    read_record,
    snapshot,
)

_RESPONSE_TIMEOUT = 120  # seconds; TorchServe's own, as the values below (ConfigManager.java)
_BATCH_SIZE = 1
_BATCH_DELAY = 100  # ms


@dataclass(frozen=True)
class Beginning:
    """Archives to serve as they are built, and versions to serve as they were."""

    built: list[Archive]
    restored: Record = ()
    aside: Record = field(default=())  # deployed before as well, and not asked for now

    def paths(self, project: Project) -> list[Path]:
        """Return all files that are served."""
        restored = [path_of(project, one) for one in self.restored]
        return [*(archive.path for archive in self.built), *restored]

    def names(self, project: Project) -> dict[Path, str]:
        """Return the names of the models whose files are called otherwise."""
        return {path_of(project, one): one.name for one in self.restored}

    @property
    def files(self) -> dict[str, str]:
        """The files of the archives that are served as built, by name."""
        return {archive.name: archive.path.name for archive in self.built}

    def archives(self, project: Project) -> list[Archive]:
        """Return the archives that are to answer: of the versions, those that have workers."""
        placed = [
            PlacedArchive(path_of(project, one), one.name)
            for one in self.restored
            if one.min_workers
        ]
        return [*self.built, *placed]

    def properties(self, values: dict[str, str]) -> dict[str, str]:
        """Return what TorchServe's configuration must say; nothing, unless versions are there."""
        if not self.restored:
            return {}
        return {"model_snapshot": snapshot([*self.restored, *_as_built(self.built, values)])}

    def pinned(self, project: Project, port: int, signed_by: str | None) -> Record:
        """Keep the files of what is served, and return the beginning of a record of it.

        `signed_by` is the fingerprint of the key that all of it was verified with.
        """
        entries = _as_built(self.built, {})
        files = [pin(project, port, archive) for archive in self.built]
        named = [
            replace(entry, file=file, sha256=archive.digest, default=False, signed_by=signed_by)
            for entry, file, archive in zip(entries, files, self.built, strict=True)
        ]
        restored = (replace(one, signed_by=signed_by or one.signed_by) for one in self.restored)
        return (*restored, *named)

    def told(self) -> list[str]:
        """Return, for a person, which versions are served because they were deployed."""
        names = dict.fromkeys(one.name for one in self.restored)
        return [_told(of(self.restored, name)) for name in names]


def beginning(project: Project, names: Iterable[str], port: int, *, fresh: bool) -> Beginning:
    """Return what the server on `port` is to serve; with `fresh` nothing but what is built.

    No names: all that archives.toml describes, and all that was deployed. Raises ProjectError and
    ArchiveError for what cannot be served.
    """
    record = () if fresh else deployed(read_record(project, port))
    recorded = {one.name for one in record}
    chosen = list(dict.fromkeys(names or [*project.archives, *sorted(recorded)]))
    restored = tuple(one for one in record if one.name in chosen)
    for one in restored:
        _require_unaltered(project, one)
    built = [built_archive(project, name) for name in chosen if name not in recorded]
    aside = tuple(one for one in record if one.name not in chosen)
    return Beginning(built, restored, aside)


def built_archive(project: Project, name: str) -> Archive:
    """Return an archive of the model store, if it can be served."""
    path = project.model_store / f"{name}.mar"
    if not path.exists():
        project.specs((name,))  # whoever mistyped a name shall not be told to build it
    archive = Archive(path)
    if archive.manifest.model_version is None:
        raise ProjectError(f"{archive.path} has no model version", "build it: marsmith build")
    for sample in archive.samples:
        archive.read(sample.request), archive.read(sample.response)  # before anything is started
    return archive


def _require_unaltered(project: Project, version: Version) -> None:
    path = path_of(project, version)
    what = f"{version.name} {version.version} was deployed, and its file {path}"
    hint = "serve what is built now, and deploy it again: marsmith serve --fresh"
    if not path.exists():
        raise ArchiveError(f"{what} is gone", hint)
    if version.sha256 and Archive(path).digest != version.sha256:
        raise ArchiveError(f"{what} is another one now", hint)


def _as_built(archives: list[Archive], values: dict[str, str]) -> list[Version]:
    """Say of archives what TorchServe would make of their model-config by itself."""
    return [_entry(archive, archive.model_config, values) for archive in archives]


def _entry(archive: Archive, config: dict[str, object], values: dict[str, str]) -> Version:
    def number(key: str, otherwise: int) -> int:
        value = config.get(key)
        return value if isinstance(value, int) and value > 0 else otherwise

    workers = int(values.get("default_workers_per_model") or os.cpu_count() or 1)
    least = number("minWorkers", workers)
    waits = int(values.get("default_response_timeout") or _RESPONSE_TIMEOUT)
    return Version(
        archive.name,
        archive.manifest.model_version or "",
        archive.path.name,
        sha256="",
        default=True,
        min_workers=least,
        max_workers=max(number("maxWorkers", least), least),
        batch_size=number("batchSize", _BATCH_SIZE),
        max_batch_delay=number("maxBatchDelay", _BATCH_DELAY),
        response_timeout=number("responseTimeout", waits),
    )


def _told(record: Record) -> str:
    default = next((one for one in record if one.default), record[0])
    kept = [one.version for one in record if one is not default]
    return f"{default.name} {default.version}" + (f" (kept: {', '.join(kept)})" if kept else "")
