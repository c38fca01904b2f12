"""Prove archives: layout, code, weights, configuration, and how they behave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from marsmith.archive import Archive
from marsmith.building import build, is_stale
from marsmith.errors import ArchiveError, ProjectError, WorkerError
from marsmith.findings import Finding, FindingsError, Severity
from marsmith.project import Project
from marsmith.spec import SPEC_FILE, ArchiveSpec
from marsmith.verify.behaviour import Behaviour
from marsmith.verify.causes import as_cause, causes_of
from marsmith.verify.code import check_code
from marsmith.verify.layout import check_against_sources, check_contents, check_layout
from marsmith.verify.manifests import check_manifest
from marsmith.verify.server_config import check_server_config
from marsmith.verify.serving_config import check_serving
from marsmith.verify.sources import check_spec
from marsmith.verify.stored_weights import check_weights
from marsmith.verify.subject import Subject

_ENDINGS = ("*.mar", "*.tar.gz", "*.tgz")
# After an error of these nothing that runs the archive can say more.
_STATIC: tuple[Callable[[Subject], Iterator[Finding]], ...] = (
    check_against_sources,
    check_code,
    check_weights,
    check_serving,
)


@dataclass(frozen=True)
class Checked:
    """What was found of one archive, or of the project around it."""

    name: str
    findings: tuple[Finding, ...]
    figures: dict[str, float] = field(default_factory=dict)  # seconds to load, and to answer

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(finding.severity is Severity.ERROR for finding in self.findings)


@dataclass(frozen=True)
class Target:
    """An archive to be checked: the file, or what describes it, or both."""

    name: str
    path: Path | None = None
    project: Project | None = None
    spec: ArchiveSpec | None = None


def targets(texts: tuple[str, ...], find: Callable[[], Project]) -> list[Target]:
    """Return what names, files and folders stand for; nothing means all that is described.

    `find` returns the project around. Raises ProjectError for what is none of them.
    """
    if not texts:
        return _described(find())
    return [target for text in texts for target in _targets(text, find)]


def _targets(text: str, find: Callable[[], Project]) -> list[Target]:
    path = Path(text)
    if path.is_dir():
        return _in_folder(path)
    if path.is_file():
        return [_target(path)]
    project = find()
    (spec,) = project.specs((text,))
    return [Target(text, None, project, spec)]


def _in_folder(path: Path) -> list[Target]:
    if (path / SPEC_FILE).is_file():
        return _described(Project(path.absolute()))
    if (path / "MAR-INF").is_dir():
        return [_target(path)]
    found = sorted(file for pattern in _ENDINGS for file in path.glob(pattern))
    if not found:
        message = f"the folder {path} holds no archive and no {SPEC_FILE}"
        raise ProjectError(message, "name an archive, a model store or a project")
    return [_target(file) for file in found]


def _described(project: Project) -> list[Target]:
    return [Target(name, None, project, spec) for name, spec in project.archives.items()]


def _target(path: Path) -> Target:
    """Return an archive with the project whose model store it lies in, if there is one."""
    name = path.name.removesuffix(".mar")
    project = Project(path.absolute().parents[1]) if len(path.absolute().parents) > 1 else None
    if project and path.absolute().parent == project.model_store:
        try:
            if name in project.archives:
                return Target(name, path, project, project.archives[name])
        except ProjectError:
            pass  # a project that cannot be read is none
    return Target(name, path)


def check(target: Target, *, timeout: float, fix: bool = False) -> Checked:
    """Check one archive. `timeout` is in seconds; `fix` builds anew what is missing or stale."""
    if target.project and target.spec:
        found = tuple(check_spec(target.project, target.spec))
        found = tuple(f for f in found if f.rule != "no-sample")  # told once, of the archive
        if any(finding.severity is Severity.ERROR for finding in found):
            return Checked(target.name, found)
    try:
        archive = _archive(target, fix=fix)
        findings, figures = _check_archive(Subject(archive, target.project, target.spec), timeout)
        return Checked(target.name, tuple(findings), figures)
    except FindingsError as error:
        return Checked(target.name, error.findings)
    except WorkerError as error:  # that loaded, and then said what no worker says
        place = str(target.path or target.name)
        found = (Finding(error.message, error.hint, place, rule="answer-type"),)
        return Checked(target.name, found)
    except ArchiveError as error:
        place = str(target.path or target.name)
        message = error.message.removeprefix(f"{place}: ")
        return Checked(target.name, (Finding(message, error.hint, place, rule="damaged"),))


def _archive(target: Target, *, fix: bool) -> Archive:
    """Open the archive; one that was never built is built, a stale one only to fix it."""
    if target.project and target.path is None:
        path = target.project.model_store / f"{target.name}.mar"
        if not path.exists() or (fix and is_stale(target.project, target.name)):
            build(target.project, (target.name,))
        return Archive(path)
    if fix and target.project:
        build(target.project, (target.name,))
    return Archive(target.path or Path(target.name))


def _check_archive(subject: Subject, timeout: float) -> tuple[list[Finding], dict[str, float]]:
    findings = list(check_layout(subject))
    if not _errors(findings):
        findings += check_contents(subject)
    if not _errors(findings):
        findings += check_manifest(subject)
    if _errors(findings):
        return findings, {}
    static = [finding for one in _STATIC for finding in one(subject)]
    findings += [finding for finding in static if not finding.presumed]
    presumed = [finding for finding in static if finding.presumed]
    if _errors([f for f in findings if f.rule != "stale"]):
        return findings + presumed, {}
    behaviour = Behaviour(subject, timeout)
    seen = list(behaviour.findings())
    failed = next((f for f in seen if f.rule in ("load", "weights-keys")), None)
    if failed is None:
        return findings + seen, behaviour.figures
    causes = causes_of(failed, findings + presumed)
    rest = [one for one in findings if one not in causes]
    return rest + ([as_cause(one) for one in causes] or seen), behaviour.figures


def _errors(findings: list[Finding]) -> bool:
    return any(finding.severity is Severity.ERROR for finding in findings)


def check_project(project: Project) -> Checked:
    """Check what is the project's and no archive's: config.properties."""
    return Checked("config.properties", tuple(check_server_config(project)))
