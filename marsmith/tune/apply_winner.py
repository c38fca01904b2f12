"""Write the winner of a search into archives.toml, without changing anything else in it."""

from __future__ import annotations

import difflib
import shutil
from dataclasses import replace
from pathlib import Path

from marsmith.building.building import build
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import ProjectError
from marsmith.project.project import Project
from marsmith.project.spec import SPEC_FILE, ArchiveSpec
from marsmith.project.toml_editor import Value, require_only, with_items, with_values
from marsmith.tune.space import Configuration, applied

_WEIGHTS = "weights"


def winning_text(text: str, spec: ArchiveSpec, configuration: Configuration) -> str:
    """Return the spec's text with a configuration in it.

    Raises ProjectError if the text cannot be edited.
    """
    wanted = _with_weights(applied(spec, configuration))
    table = ("archives", spec.name)
    own: dict[str, Value] = {
        key: getattr(wanted, key)
        for key in ("model_file", "serialized_file")
        if getattr(wanted, key) != getattr(spec, key)
    }
    changed = with_values(text, table, own)
    changed = with_items(changed, table, "extra_files", wanted.extra_files[len(spec.extra_files) :])
    for name in ("handler_config", "serving"):
        old, new = getattr(spec, name), getattr(wanted, name)
        different = {key: value for key, value in new.items() if old.get(key) != value}
        changed = with_values(changed, (*table, name), different)
    require_only(text, changed, wanted)
    return changed


def difference(text: str, changed: str) -> list[str]:
    """Return what differs, as the lines of a unified diff."""
    names = SPEC_FILE, SPEC_FILE
    return list(difflib.unified_diff(text.splitlines(), changed.splitlines(), *names, lineterm=""))


def keep(project: Project, name: str, configuration: Configuration, changed: str) -> None:
    """Write the changed spec and the model's files that it names, and build the archive."""
    try:
        for file in configuration.variant.files:
            target = project.root / _WEIGHTS / Path(file).name
            target.parent.mkdir(exist_ok=True)
            with (project.root / file).open("rb") as source, replacing(target) as copy:
                shutil.copyfileobj(source, copy)
        with replacing(project.root / SPEC_FILE) as written:
            written.write(changed.encode())
    except OSError as error:
        raise ProjectError(
            f"{error.filename or project.root} cannot be written: {error.strerror}",
            "free disk space or correct permissions, and run this again; nothing is measured twice",
            code="project-unwritable",
        ) from error
    build(Project(project.root), (name,))


def _with_weights(spec: ArchiveSpec) -> ArchiveSpec:
    """Return the spec with files of the search at their final place."""

    def place(file: str) -> str:
        return f"{_WEIGHTS}/{Path(file).name}" if file.startswith(".marsmith/") else file

    files = tuple(place(file) for file in spec.extra_files)
    weights = place(spec.serialized_file) if spec.serialized_file else None
    return replace(spec, serialized_file=weights, extra_files=files)
