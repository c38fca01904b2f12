"""Check archives: layout, code, weights, configuration, and behaviour."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from marsmith.answers.requests import Input
from marsmith.archive.private_copy import private_copy
from marsmith.archive.reader import Archive
from marsmith.building.building import build, is_stale
from marsmith.building.preflight import check_spec
from marsmith.check.behaviour import Behaviour
from marsmith.check.code import check_code
from marsmith.check.engines import check_engine
from marsmith.check.layout import check_against_sources, check_contents, check_layout
from marsmith.check.manifests import check_manifest
from marsmith.check.pickles import check_pickles
from marsmith.check.requirements import check_requirements
from marsmith.check.root_cause import as_cause, causes_of
from marsmith.check.server_config import check_server_config
from marsmith.check.serving_config import check_serving
from marsmith.check.stored_weights import check_weights
from marsmith.check.subject import Subject
from marsmith.check.targets import Target
from marsmith.core.errors import ArchiveError, WorkerError
from marsmith.core.findings import Finding, FindingsError, Severity
from marsmith.project.accepted_code import accepted_around, accepted_by
from marsmith.project.project import Project
from marsmith.project.route_templates import template_findings
from marsmith.torchserve.environment import temporary_folder
from marsmith.worker.sandbox import Sandbox

# Rules for an archive that cannot be loaded, or answers nothing.
_FAILED = ("load", "weights-keys", "download", "no-answer")
# If one of these finds an error, the archive is not run.
_STATIC: tuple[Callable[[Subject], Iterator[Finding]], ...] = (
    check_against_sources,
    check_code,
    check_pickles,
    check_weights,
    check_engine,
    check_serving,
    check_requirements,
)


@dataclass(frozen=True)
class Checked:
    """The findings about one archive, or about its project."""

    name: str
    findings: tuple[Finding, ...]
    figures: dict[str, float] = field(default_factory=dict)  # seconds to load, and to answer
    without_sandbox: str = ""  # why it was run without one

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(finding.severity is Severity.ERROR for finding in self.findings)


def check(
    target: Target,
    *,
    timeout: float,
    fix: bool = False,
    accept: Collection[str] = (),
    sandbox: Sandbox | None = None,
    given: Sequence[Input] = (),
) -> Checked:
    """Check one archive. `timeout` is in seconds; `fix` rebuilds an archive that is stale.

    `accept` are digests of files whose code may run, beside those that the project accepts.
    `sandbox` is that of Runtime. Raises ServerError if it is required and the system allows none.
    """
    if target.project and target.spec:
        found = tuple(check_spec(target.project, target.spec))
        found = tuple(f for f in found if f.rule != "no-sample")  # reported once, about the archive
        if any(finding.severity is Severity.ERROR for finding in found):
            return Checked(target.name, found)
    try:
        with _archive(target, fix=fix) as archive:
            behaviour = Behaviour(_subject(target, archive, accept), timeout, sandbox, given)
            found = tuple(_check_archive(behaviour))
        return Checked(target.name, found, behaviour.figures, behaviour.without_sandbox)
    except FindingsError as error:
        return Checked(target.name, error.findings)
    except WorkerError as error:  # it loaded, and then broke the protocol
        place = str(target.path or target.name)
        found = (Finding(error.message, error.hint, place, rule="answer-type"),)
        return Checked(target.name, found)
    except ArchiveError as error:
        place = str(target.path or target.name)
        message = error.message.removeprefix(f"{place}: ")
        rule = "damaged" if error.code == "archive-damaged" else error.code
        return Checked(target.name, (Finding(message, error.hint, place, rule=rule),))


def _subject(target: Target, archive: Archive, accept: Collection[str]) -> Subject:
    own = accepted_by(target.project) if target.project else accepted_around(archive.shown)
    return Subject(archive, target.project, target.spec, own | frozenset(accept))


@contextmanager
def _archive(target: Target, *, fix: bool) -> Iterator[Archive]:
    """Open a private copy of the archive, which nobody changes while it is checked."""
    if target.archive:
        yield target.archive  # a copy already
        return
    path = _path(target, fix=fix)
    folder = temporary_folder()
    try:
        yield private_copy(path, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _path(target: Target, *, fix: bool) -> Path:
    """Return the archive's path. Build it if it was never built, or is stale and `fix` is set."""
    if target.project and target.path is None:
        path = target.project.model_store / f"{target.name}.mar"
        if not path.exists() or (fix and is_stale(target.project, target.name)):
            build(target.project, (target.name,))
        return path
    if fix and target.project:
        build(target.project, (target.name,))
    return target.path or Path(target.name)


def _check_archive(behaviour: Behaviour) -> list[Finding]:
    subject = behaviour.subject
    findings = list(check_layout(subject))
    if not _errors(findings):
        findings += check_contents(subject)
    if not _errors(findings):
        findings += check_manifest(subject)
    if _errors(findings):
        return findings
    static = [finding for one in _STATIC for finding in one(subject)]
    findings += [finding for finding in static if not finding.presumed]
    presumed = [finding for finding in static if finding.presumed]
    if _errors([f for f in findings if f.rule != "stale"]):
        return findings + _still_relevant(findings, presumed)
    seen = list(behaviour.findings())
    failed = next((one for one in seen if one.rule in _FAILED and _errors([one])), None)
    if failed is None:
        return findings + seen
    causes = causes_of(failed, findings + presumed)
    rest = [one for one in findings if one not in causes]
    if not causes:
        return rest + seen
    explained = [as_cause(one, failed) for one in causes]
    return rest + [one for one in seen if one is not failed] + explained


def _still_relevant(findings: list[Finding], presumed: list[Finding]) -> list[Finding]:
    """Return presumed findings about an archive that is not loaded because of other errors."""
    hostile = {one.file for one in findings if one.rule == "weights-execute"}
    return [one for one in presumed if one.file not in hostile and one.rule != "download"]


def _errors(findings: list[Finding]) -> bool:
    return any(finding.severity is Severity.ERROR for finding in findings)


def check_project(project: Project) -> Checked:
    """Check the project's config.properties, and the templates of its routes."""
    found = [*check_server_config(project), *template_findings(project)]
    return Checked("configuration", tuple(found))
