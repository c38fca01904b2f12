"""Record a new archive's answer to its first picture."""

from __future__ import annotations

from pathlib import Path

from marsmith.answers.requests import Input
from marsmith.building import record_samples
from marsmith.project.project import Project
from marsmith.worker.runtime import DEFAULT_TIMEOUT


def record_answer(root: Path, name: str, picture: str) -> None:
    """Build the archive, let it answer, and keep the answer as the expected one.

    Raises MarsmithError if it cannot be built or run here; the project stays as it was written.
    """
    project = Project(root)
    if project.specs((name,))[0].samples:
        return
    recorded = record_samples.record(
        project,
        name,
        (Input(picture, root / picture),),
        tolerance=None,
        largest=None,
        timeout=DEFAULT_TIMEOUT,
    )
    record_samples.keep(project, name, recorded)
