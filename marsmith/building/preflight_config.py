"""Check what a spec puts into model-config.yaml: its config_file, and its own tables."""

from __future__ import annotations

from collections.abc import Iterator

from marsmith.building.preflight_files import in_spec
from marsmith.core.errors import ArchiveError
from marsmith.core.findings import Finding
from marsmith.project.entries import config_file_values
from marsmith.project.project import Project
from marsmith.project.spec import ArchiveSpec
from marsmith.project.spec_schema import workers_problem


def check_config(project: Project, spec: ArchiveSpec) -> Iterator[Finding]:
    """Yield a config_file that TorchServe cannot read, and numbers of workers that contradict."""
    try:
        values = config_file_values(project, spec)
    except ArchiveError as error:
        yield in_spec(
            project, spec, ("config_file",), error.message, error.hint, rule="model-config"
        )
        return
    except OSError:
        return  # check_files says why
    if problem := workers_problem(values | spec.serving):
        key = ("serving", "minWorkers") if "minWorkers" in spec.serving else ("config_file",)
        yield in_spec(project, spec, key, *problem, rule="serving-workers")
