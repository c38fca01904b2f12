"""Build archives: check all specs first, skip what is unchanged, build the rest in parallel."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from marsmith.building.build_record import inputs, unchanged, write_record
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import ProjectError
from marsmith.core.file_lock import locked
from marsmith.core.findings import Finding, FindingsError, Severity
from marsmith.project.lockfile import (
    LOCK_FILE,
    Lock,
    Locked,
    format_lock,
    lock_unreadable,
    parse_lock,
)
from marsmith.project.project import Project
from marsmith.project.spec import ArchiveSpec


@dataclass(frozen=True)
class Built:
    """An archive that is now in the model store; `fresh` if this call made it."""

    name: str
    path: Path
    size: int  # bytes
    sha256: str
    fresh: bool
    warnings: tuple[Finding, ...] = ()


def build(
    project: Project,
    names: tuple[str, ...] = (),
    *,
    force: bool = False,
    lock: Lock | None = None,
) -> list[Built]:
    """Build the archives `names`, or all of them, in the project's model store.

    Raises FindingsError with the problems of all of them before anything is written. With `lock`,
    also for archives that would differ from it; only the others are put in place.
    """
    if problems := project.spec_file.problems:
        sound = project.spec_file.archives.values()
        raise FindingsError([*problems, *(f for spec in sound for f in _findings(project, spec))])
    specs = project.specs(names)
    results = {spec.name: None if force else _standing(project, spec, lock) for spec in specs}
    outdated = [spec for spec in specs if results[spec.name] is None]
    if outdated:
        results |= _make_all(project, outdated, lock)
    refused = [result for result in results.values() if isinstance(result, Finding)]
    refused += lock.unknown(project.archives) if lock else []
    if refused:
        raise FindingsError(refused)
    return [result for result in results.values() if isinstance(result, Built)]


def build_and_lock(project: Project, *, force: bool = False) -> list[Built]:
    """Build all archives and write `archives.lock`, whole or not at all. Raises as `build` does."""
    built = build(project, force=force)
    archives = {
        one.name: Locked(project.archives[one.name].version, one.sha256, one.size) for one in built
    }
    path = project.root / LOCK_FILE
    try:
        with replacing(path) as file:
            file.write(format_lock(archives).encode())
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        hint = "free disk space, or make its folder writable"
        raise ProjectError(message, hint, code="not-writable") from error
    return built


def build_locked(
    project: Project, names: tuple[str, ...] = (), *, force: bool = False
) -> list[Built]:
    """Build archives as `build` does, and put only those in place that match `archives.lock`.

    Raises FindingsError for those that differ, are not locked, or are locked but not described.
    """
    return build(project, names, force=force, lock=_read_lock(project))


def _read_lock(project: Project) -> Lock:
    path = project.root / LOCK_FILE
    try:
        return parse_lock(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        message = f"there is no {LOCK_FILE} in {project.root}"
        raise ProjectError(message, "write it: marsmith build --lock", code="no-lock") from error
    except (OSError, UnicodeDecodeError) as error:
        raise lock_unreadable(f"cannot be read: {error}") from error


def is_stale(project: Project, name: str) -> bool:
    """Return whether an archive that the project describes is older than its inputs."""
    spec = project.archives.get(name)
    return spec is not None and unchanged(project, spec) is None


def stale_warning(project: Project, name: str) -> Finding | None:
    """Return a warning if a built archive is older than its sources."""
    if not project.archive_path(name).exists() or not is_stale(project, name):
        return None
    message = f"{name}.mar is older than its sources"
    hint = f"build it: marsmith build {name}"
    return Finding(message, hint, severity=Severity.WARNING, rule="stale")


def _standing(project: Project, spec: ArchiveSpec, lock: Lock | None) -> Built | Finding | None:
    """Return the built archive if it is up to date, or why the lock refuses it."""
    sha256 = unchanged(project, spec)
    if sha256 is None:
        return None
    path = project.archive_path(spec.name)
    built = Built(spec.name, path, path.stat().st_size, sha256, False)
    if lock is None:
        return built
    return lock.difference(spec.name, Locked(spec.version, built.sha256, built.size)) or built


def _make_all(
    project: Project, specs: list[ArchiveSpec], lock: Lock | None
) -> dict[str, Built | Finding]:
    findings = {spec.name: _findings(project, spec) for spec in specs}
    everything = [finding for found in findings.values() for finding in found]
    if any(finding.severity is Severity.ERROR for finding in everything):
        raise FindingsError(everything)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as executor:
        made = executor.map(lambda spec: _make(project, spec, findings[spec.name], lock), specs)
        return {spec.name: result for spec, result in zip(specs, made, strict=True)}


def _findings(project: Project, spec: ArchiveSpec) -> tuple[Finding, ...]:
    from marsmith.building.preflight import check_spec  # a no-op build does without it

    return tuple(check_spec(project, spec))


def _make(
    project: Project, spec: ArchiveSpec, warnings: tuple[Finding, ...], lock: Lock | None
) -> Built | Finding:
    from marsmith.building.writer import write_archive

    def require_locked(sha256: str, size: int) -> None:
        made = Locked(spec.version, sha256, size)
        if lock and (different := lock.difference(spec.name, made)):
            raise FindingsError([different])

    # Without the lock another build could put its archive in place between ours and our record.
    with locked(project.state_folder("build") / f"{spec.name}.lock"):
        before = inputs(project, spec)
        try:
            sha256 = write_archive(project, spec, require_locked)
        except FindingsError as error:
            return error.findings[0]
        write_record(project, spec, before, sha256)
    path = project.archive_path(spec.name)
    return Built(spec.name, path, path.stat().st_size, sha256, True, warnings)
