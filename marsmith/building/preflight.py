"""Check a spec and its files before the build, without importing anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from marsmith.building.class_names import check_class_names
from marsmith.building.preflight_config import check_config
from marsmith.building.preflight_files import check_collisions, check_files, in_spec
from marsmith.building.preflight_imports import check_imports
from marsmith.core.findings import Finding, Severity
from marsmith.project.entries import entries
from marsmith.project.project import Project
from marsmith.project.python_outline import (
    ModuleOutline,
    OutlineProblem,
    class_problem,
    handler_problem,
    outline,
)
from marsmith.project.spec import SPEC_FILE, ArchiveSpec
from marsmith.weights.checkpoint import state_dict_problem


def check_spec(project: Project, spec: ArchiveSpec) -> Iterator[Finding]:
    """Yield every problem that would spoil the archive, or be refused by torch-model-archiver."""
    files = list(entries(project, spec))
    yield from check_files(project, spec)
    yield from check_collisions(project, spec, files)
    yield from check_imports(project, spec, files)
    yield from _check_handler(project, spec)
    yield from _check_model_file(project, spec)
    yield from _check_weights(project, spec)
    yield from check_class_names(project, spec, files)
    yield from _check_samples(project, spec)
    yield from check_config(project, spec)
    yield from _check_unused(project, spec)


def _outline(project: Project, written: str) -> ModuleOutline | None:
    """Return a file's outline, or None if it has none: then another finding says why."""
    try:
        return outline((project.root / written).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None


def _finding(file: str, problem: OutlineProblem) -> Finding:
    return Finding(problem.message, problem.hint, file, problem.line, rule=problem.rule)


def _check_handler(project: Project, spec: ArchiveSpec) -> Iterator[Finding]:
    file = spec.handler_file
    found = _outline(project, file) if file and file.endswith(".py") else None
    if not file or not found or not (problem := handler_problem(found, spec.entry_point)):
        return
    if problem.rule == "classes":
        yield _finding(file, problem)
    else:  # archives.toml names the function, and may have misspelt it
        message = f"{file}: {problem.message}"
        yield in_spec(project, spec, ("handler",), message, problem.hint, rule="handler-function")


def _check_model_file(project: Project, spec: ArchiveSpec) -> Iterator[Finding]:
    found = _outline(project, spec.model_file) if spec.model_file else None
    if spec.model_file and found and (problem := class_problem(found, "model file")):
        yield _finding(spec.model_file, problem)


def _check_weights(project: Project, spec: ArchiveSpec) -> Iterator[Finding]:
    """Yield why a model file cannot load its weights; without one, the handler loads them."""
    path = project.root / (spec.serialized_file or "")
    if not path.is_file() or not os.access(path, os.R_OK):
        return
    wants_state_dict = spec.model_file is not None and path.suffix in (".pt", ".pth")
    if (wants_state_dict or path.stat().st_size == 0) and (problem := state_dict_problem(path)):
        message = f"{spec.serialized_file}: {problem.message}"
        key = ("serialized_file",)
        yield in_spec(project, spec, key, message, problem.hint, rule="weights")


def _check_unused(project: Project, spec: ArchiveSpec) -> Iterator[Finding]:
    if spec.archive_format is not None:
        message = "archive_format has no effect: each archive is a zip of files as they are"
        finding = in_spec(
            project, spec, ("archive_format",), message, "delete the line", rule="unused-key"
        )
        yield replace(finding, severity=Severity.WARNING)


def _check_samples(project: Project, spec: ArchiveSpec) -> Iterator[Finding]:
    if not spec.samples:
        yield Finding(
            f"{spec.name} has no sample, so nothing proves its answers",
            f"add [[archives.{spec.name}.samples]] with a request and its expected response",
            SPEC_FILE,
            project.spec_file.line(spec.name),
            Severity.WARNING,
            rule="no-sample",
        )
