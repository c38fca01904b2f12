"""Build archives: check all specs first, skip what is unchanged, do the rest side by side."""

from __future__ import annotations

import importlib.util
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from marsmith import __version__
from marsmith.core.atomic_write import replacing
from marsmith.core.file_lock import locked
from marsmith.core.findings import Finding, FindingsError, Severity
from marsmith.project.entries import sources
from marsmith.project.lockfile import Lock, Locked
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
    """Make the archives `names`, or all of them, in the project's model store.

    Raises FindingsError with the problems of all of them before anything is written; with `lock`
    also for what would not come out as locked, and then only those are put in place that do.
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


def is_stale(project: Project, name: str) -> bool:
    """Say whether an archive that the project describes is older than what it is made of."""
    spec = project.archives.get(name)
    return spec is not None and _unchanged(project, spec) is None


def stale_warning(project: Project, name: str) -> Finding | None:
    """Return a warning if a built archive is older than what it is made of."""
    if not (project.model_store / f"{name}.mar").exists() or not is_stale(project, name):
        return None
    message = f"{name}.mar is older than its sources"
    hint = f"build it: marsmith build {name}"
    return Finding(message, hint, severity=Severity.WARNING, rule="stale")


def _standing(project: Project, spec: ArchiveSpec, lock: Lock | None) -> Built | Finding | None:
    """Return the archive as it stands if that is up to date, or what the lock has against it."""
    built = _unchanged(project, spec)
    if built is None or lock is None:
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
    with locked(_record_path(project, spec.name).with_suffix(".lock")):
        before = _inputs(project, spec)
        try:
            sha256 = write_archive(project, spec, require_locked)
        except FindingsError as error:
            return error.findings[0]
        path = project.model_store / f"{spec.name}.mar"
        record = {"inputs": before, "output": _output(path), "sha256": sha256}
        with replacing(_record_path(project, spec.name)) as file:
            file.write(json.dumps(record).encode())
    return Built(spec.name, path, path.stat().st_size, sha256, True, warnings)


def _unchanged(project: Project, spec: ArchiveSpec) -> Built | None:
    """Return the archive as it stands if nothing that it is made of has changed since."""
    path = project.model_store / f"{spec.name}.mar"
    try:
        record = json.loads(_record_path(project, spec.name).read_text())
        same = record["inputs"] == _inputs(project, spec) and record["output"] == _output(path)
        sha256 = record["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Built(spec.name, path, path.stat().st_size, sha256, False) if same else None


def _record_path(project: Project, name: str) -> Path:
    return project.state_folder("build") / f"{name}.json"


def _inputs(project: Project, spec: ArchiveSpec) -> str:
    """Return all that an archive depends on, as JSON: spec, tools, and its files' stats.

    Like git's index this trusts a file's size, times and inode instead of reading it; the change
    time moves with every write, even one that sets the modification time back.
    """
    files = ((f"{name} < {written}", path) for name, written, path in sources(project, spec))
    inputs = {
        "spec": asdict(spec),
        "marsmith": __version__,
        # Size and modification time alone: installers link files into several environments, and
        # each link changes a file's change time.
        "tools": {name: _stat(_package_file(name))[:2] for name in ("model_archiver", "yaml")},
        "files": {name: _stat(path) for name, path in files},
    }
    return json.dumps(inputs, sort_keys=True)


def _package_file(name: str) -> Path:
    """Return an installed package's own file, which changes with every upgrade."""
    spec = importlib.util.find_spec(name)
    return Path((spec and spec.origin) or "")


def _output(path: Path) -> list[int]:
    """Return what tells whether it is the same file; links of servers move its change time."""
    size, modified, _, inode = _stat(path)
    return [size, modified, inode]


def _stat(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
