"""What a server starts with: archives as they are built, and versions as they were deployed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from marsmith.archive.private_copy import PrivateCopy
from marsmith.archive.reader import Archive
from marsmith.core.errors import ProjectError
from marsmith.core.findings import FindingsError
from marsmith.core.worker_bounds import MOST_WORKERS
from marsmith.project.accepted_code import accepted_by, refuse_code
from marsmith.project.project import Project
from marsmith.security.signatures import signature_problems
from marsmith.security.signing_keys import fingerprint
from marsmith.server.options import ServeOptions, is_file
from marsmith.server.pinned_archives import pin, pinned
from marsmith.server.version_record import (
    Record,
    Version,
    deployed,
    of,
    read_record,
    snapshot,
)
from marsmith.torchserve.properties import addresses

_RESPONSE_TIMEOUT = 120  # seconds; TorchServe's own, as the values below (ConfigManager.java)
_BATCH_SIZE = 1
_BATCH_DELAY = 100  # ms


@dataclass(frozen=True)
class StartPlan:
    """Archives to serve as they are built, and versions to serve as they were deployed."""

    project: Project
    properties: Mapping[str, str]  # of the server
    built: list[PrivateCopy]
    restored: Record = ()
    kept: Mapping[Version, PrivateCopy] = field(default_factory=dict)  # those of `restored`
    aside: Record = ()  # deployed before as well, and not asked for now
    signed_by: str | None = None  # fingerprint of the key that all of it was verified with

    @property
    def port(self) -> int:
        """The inference port."""
        return addresses(dict(self.properties))[0].port

    @property
    def files(self) -> dict[str, str]:
        """The files that TorchServe loads by itself, by model name."""
        if self.restored:  # the snapshot has all of them
            return {}
        return {archive.name: archive.path.name for archive in self.built}

    @property
    def archives(self) -> list[Archive]:
        """The archives that must answer: of the versions, those that have workers."""
        return [*self.built, *(self.kept[one] for one in self.restored if one.min_workers)]

    def snapshot(self) -> dict[str, str]:
        """Return the properties that restore deployed versions; none if there are none."""
        if not self.restored:
            return {}
        built = (version_of(archive, self.properties) for archive in self.built)
        return {"model_snapshot": snapshot([*self.restored, *built])}

    def verified(self, public_key: Path) -> StartPlan:
        """Return the plan with its signer. Raises FindingsError for all that is not signed."""
        found = signature_problems(self.built, public_key)
        for version, archive in self.kept.items():
            found += [
                replace(
                    problem,
                    message=f"{version.name} {version.version} was deployed: {problem.message}",
                    hint="serve what is built and signed, and forget what was deployed: "
                    f"marsmith sign {version.name} --key KEY; then start the server with --fresh",
                )
                for problem in signature_problems([archive], public_key)
            ]
        if found:
            raise FindingsError(found)
        return replace(self, signed_by=fingerprint(public_key))

    def record(self) -> Record:
        """Return the first record of what is served."""
        built = [
            replace(
                version_of(archive, self.properties),
                sha256=archive.digest,
                default=False,
                signed_by=self.signed_by,
            )
            for archive in self.built
        ]
        restored = [
            replace(one, signed_by=self.signed_by or one.signed_by) for one in self.restored
        ]
        return (*restored, *built)

    def restored_words(self) -> list[str]:
        """Return, for a person, which versions are served because they were deployed."""
        names = dict.fromkeys(one.name for one in self.restored)
        return [_words(of(self.restored, name)) for name in names]


def plan_start(project: Project, options: ServeOptions, properties: dict[str, str]) -> StartPlan:
    """Return what the server will serve: private copies of archives.

    No names: all that archives.toml describes, and all that was deployed. Raises ProjectError and
    ArchiveError for what cannot be served.
    """
    port = addresses(properties)[0].port
    record = () if options.fresh else deployed(read_record(project, port))
    recorded = {one.name for one in record}
    names = [name for name in options.names if not is_file(name)]
    files = [Path(name) for name in options.names if is_file(name)]
    if not options.names:
        names = [*project.archives, *sorted(recorded)]
    chosen = list(dict.fromkeys(names))
    restored = tuple(one for one in record if one.name in chosen)
    kept = {one: pinned(project, port, one) for one in restored}
    for archive in kept.values():
        refuse_code(archive, accepted_by(project))
    built = [built_archive(project, port, name) for name in chosen if name not in recorded]
    built += [_given_archive(project, port, path, recorded) for path in files]
    _require_one_each([*(archive.name for archive in built), *{one.name for one in restored}])
    aside = tuple(one for one in record if one.name not in chosen)
    return StartPlan(project, properties, built, restored, kept, aside)


def built_archive(project: Project, port: int, name: str) -> PrivateCopy:
    """Return a copy of an archive of the model store, if it can be served."""
    path = project.model_store / f"{name}.mar"
    if not path.exists():
        project.specs((name,))  # report a misspelt name before suggesting a build
    return _readable(project, pin(project, port, Archive(path).name, path))


def _given_archive(project: Project, port: int, path: Path, recorded: Iterable[str]) -> PrivateCopy:
    """Return a copy of an archive that is named by its file."""
    if path.is_dir():
        raise ProjectError(
            f"{path} is a folder", "name a .mar: TorchServe takes files", code="folder"
        )
    name = Archive(path).manifest.model_name
    if name in recorded:
        raise ProjectError(
            f"another version of {name} was deployed to port {port}",
            f"forget it: start the server with --fresh; or deploy this one: marsmith deploy {path}",
            code="deployed-before",
        )
    return _readable(project, pin(project, port, name, path))


def _readable(project: Project, archive: PrivateCopy) -> PrivateCopy:
    """Return an archive without foreign code that has a version, and samples that can be read."""
    refuse_code(archive, accepted_by(project))
    if archive.manifest.model_version is None:
        raise ProjectError(
            f"{archive.shown} has no model version", "build it: marsmith build", code="no-version"
        )
    workers = archive.model_config.get("minWorkers")
    if isinstance(workers, int) and workers > MOST_WORKERS:
        raise ProjectError(
            f"{archive.shown} asks for {workers} workers, which no machine has room for",
            f"set minWorkers to {MOST_WORKERS} or fewer, and build it again",
            code="too-many-workers",
        )
    for sample in archive.samples:
        archive.read(sample.request), archive.read(sample.response)  # before anything is started
    return archive


def _require_one_each(names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise ProjectError(
                f"{count} archives are of the model {name}",
                "serve one of them, and deploy the other beside it: marsmith deploy",
                code="same-name",
            )


def version_of(archive: Archive, properties: Mapping[str, str]) -> Version:
    """Return what TorchServe makes of an archive's model-config by itself."""
    config = archive.model_config

    def number(key: str, default: int) -> int:
        value = config.get(key)
        return value if isinstance(value, int) and value > 0 else default

    least = number("minWorkers", int(properties["default_workers_per_model"]))
    waits = int(properties.get("default_response_timeout") or _RESPONSE_TIMEOUT)
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


def _words(record: Record) -> str:
    default = next((one for one in record if one.default), record[0])
    kept = [one.version for one in record if one is not default]
    return f"{default.name} {default.version}" + (f" (kept: {', '.join(kept)})" if kept else "")
