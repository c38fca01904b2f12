"""Check that the files a spec names are there, and that none takes another's place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from marsmith.answers.samples import SAMPLES_FILE
from marsmith.archive.manifest import MANIFEST_FILE
from marsmith.core.findings import Finding
from marsmith.core.suggestions import did_you_mean
from marsmith.project.entries import MODEL_CONFIG_FILE, Entry, Key, matches
from marsmith.project.project import Project
from marsmith.project.spec import DEFAULT_HANDLERS, SPEC_FILE, ArchiveSpec


def in_spec(
    project: Project, spec: ArchiveSpec, key: Key, message: str, hint: str, *, rule: str
) -> Finding:
    """Return a finding at a key of an archive's table."""
    line = project.spec_file.line(spec.name, *key)
    return Finding(message, hint, SPEC_FILE, line, rule=rule)


def _written_paths(spec: ArchiveSpec) -> Iterator[tuple[Key, str]]:
    for key in ("model_file", "serialized_file", "requirements_file", "config_file"):
        if (path := getattr(spec, key)) is not None:
            yield (key,), path
    if spec.handler_file is not None:
        yield ("handler",), spec.handler_file
    for index, path in enumerate(spec.extra_files):
        yield ("extra_files", index), path
    for index, sample in enumerate(spec.samples):
        yield ("samples", index, "request"), sample.request
        yield ("samples", index, "response"), sample.response


def check_files(project: Project, spec: ArchiveSpec) -> Iterator[Finding]:
    """Yield each path of a spec that leads to no file that could be packed."""
    for key, written in _written_paths(spec):
        if problem := _file_problem(project, key, written):
            yield in_spec(project, spec, key, *problem, rule="file")


def _file_problem(project: Project, key: Key, written: str) -> tuple[str, str] | None:
    name = key[0]
    if not written:
        return f"{name} is empty", "name a file, or remove the key"
    if "," in written:
        return (
            f"{name}: {written!r} has a comma, and torch-model-archiver splits lists at commas",
            "rename the file",
        )
    if name == "handler" and not written.endswith(".py"):
        return (
            f"handler: {written!r} is neither a .py file nor a default handler of TorchServe",
            _closest(written, [*DEFAULT_HANDLERS, *_names_beside(project.root / written)]),
        )
    found = matches(project, written) if name == "extra_files" else [project.root / written]
    if not found:
        return f"{name}: nothing matches {written!r}", "correct the pattern, or remove it"
    if not found[0].exists():
        path = project.root / written
        near = [other for other in _names_beside(path) if Path(other).suffix == path.suffix]
        return f"{name}: there is no file {written!r}", _closest(Path(written).name, near)
    if found[0].is_dir() and name != "extra_files":
        return f"{name}: {written!r} is a folder", "name a file in it"
    if project.model_store.resolve().is_relative_to(found[0].resolve()):
        return f"{name}: {written!r} holds the model store", "name the files or folders in it"
    if not all(path.is_file() or path.is_dir() for path in found):
        return f"{name}: {written!r} is not a regular file", "name a regular file"
    if not all(os.access(path, os.R_OK) for path in found):
        return f"{name}: {written!r} cannot be read", "change its permissions"
    return None


def _names_beside(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []


def _closest(name: str, names: list[str]) -> str:
    return did_you_mean(name, names, "paths start at the project's root")


def check_collisions(
    project: Project, spec: ArchiveSpec, entries: list[Entry]
) -> Iterator[Finding]:
    """Yield files that would take the name of another: the last one would win, silently."""
    seen: dict[str, tuple[str, Path]] = {MANIFEST_FILE: ("torch-model-archiver's", Path())}
    if spec.model_config_values() and not spec.config_file:
        seen[MODEL_CONFIG_FILE] = ("the serving table's", Path())
    if spec.samples:
        seen[SAMPLES_FILE] = ("the samples' index", Path())
    by_name = {entry.name: entry for entry in reversed(entries)}
    for entry in entries:
        name, path = entry.name, entry.file.resolve()
        if name in seen and seen[name][1] != path:
            first = seen[name][0]
            message = f"two files become {name!r} in the archive: {first} and {entry.source}"
            yield _collision(project, spec, entry, message, _apart(first, entry))
        seen.setdefault(name, (entry.source, path))
    folders = {str(folder) for name in seen for folder in PurePosixPath(name).parents}
    for name in sorted(folders & by_name.keys()):
        message = f"{seen[name][0]} becomes {name!r} in the archive, where a folder has that name"
        yield _collision(project, spec, by_name[name], message, "rename the file")


def _collision(
    project: Project, spec: ArchiveSpec, entry: Entry, message: str, hint: str
) -> Finding:
    if entry.importer:
        return Finding(message, hint, entry.importer, entry.line, rule="collision")
    return in_spec(project, spec, entry.key, message, hint, rule="collision")


def _apart(first: str, entry: Entry) -> str:
    """Return how two files of one name can both be in an archive."""
    if entry.importer:
        return "rename one, and change its imports"
    inside = entry.key[0] == "extra_files" and not Path(entry.source).is_absolute()
    around = os.path.commonpath([first, entry.source]) if inside else ""
    whole = f'list "{around}", whose subfolders stay, instead of them' if around else ""
    if PurePosixPath(entry.source).name == "__init__.py":  # a package keeps its folder, or is none
        return whole or "move both packages into one folder, and list that: its subfolders stay"
    if whole:
        return f"{whole}; or rename one"
    return "rename one: a file lands at the archive's root by its basename"
