"""Would this spec make a sound archive? Everything that can be seen without importing a thing."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from marsmith.answers.samples import SAMPLES_FILE
from marsmith.archive.manifest import MANIFEST_FILE
from marsmith.building.preflight_imports import check_imports
from marsmith.core.findings import Finding, Severity
from marsmith.project.entries import MODEL_CONFIG_FILE, Entry, entries, matches
from marsmith.project.project import Project
from marsmith.project.python_outline import ModuleOutline, outline
from marsmith.project.spec import DEFAULT_HANDLERS, SPEC_FILE, ArchiveSpec
from marsmith.weights.checkpoint import state_dict_problem

_Key = tuple[str | int, ...]


def check_spec(project: Project, spec: ArchiveSpec) -> Iterator[Finding]:
    """Yield every problem that would spoil the archive, or be refused by torch-model-archiver."""
    files = list(entries(project, spec))
    yield from _check_files(project, spec)
    yield from _check_collisions(project, spec, files)
    yield from check_imports(project, spec, files)
    yield from _check_handler(project, spec)
    yield from _check_model_file(project, spec)
    yield from _check_weights(project, spec)
    yield from _check_samples(project, spec)
    yield from _check_workers(project, spec)


def _in_spec(
    project: Project, spec: ArchiveSpec, rule: str, key: _Key, message: str, hint: str
) -> Finding:
    line = project.spec_file.line(spec.name, *key)
    return Finding(message, hint, SPEC_FILE, line, rule=rule)


def _written_paths(spec: ArchiveSpec) -> Iterator[tuple[_Key, str]]:
    for key in ("model_file", "serialized_file", "requirements_file"):
        if (path := getattr(spec, key)) is not None:
            yield (key,), path
    if spec.handler_file is not None:
        yield ("handler",), spec.handler_file
    for index, path in enumerate(spec.extra_files):
        yield ("extra_files", index), path
    for index, sample in enumerate(spec.samples):
        yield ("samples", index, "request"), sample.request
        yield ("samples", index, "response"), sample.response


def _check_files(project: Project, spec: ArchiveSpec) -> Iterator[Finding]:
    for key, written in _written_paths(spec):
        if problem := _file_problem(project, key, written):
            yield _in_spec(project, spec, "file", key, *problem)


def _file_problem(project: Project, key: _Key, written: str) -> tuple[str, str] | None:
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
        return f"{name}: {written!r} is no regular file", "copy what it gives into a file"
    if not all(os.access(path, os.R_OK) for path in found):
        return f"{name}: {written!r} may not be read", "mend its permissions"
    return None


def _names_beside(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []


def _closest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else "paths start at the project's root"


def _check_collisions(
    project: Project, spec: ArchiveSpec, entries: list[Entry]
) -> Iterator[Finding]:
    """All files land in one folder by their basename; the last one would win, silently."""
    seen: dict[str, tuple[str, Path]] = {MANIFEST_FILE: ("torch-model-archiver's", Path())}
    if spec.model_config_values():
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
    return _in_spec(project, spec, "collision", entry.key, message, hint)


def _apart(first: str, entry: Entry) -> str:
    """Return how two files of one name can both be in an archive."""
    if entry.importer:
        return "rename one, and change its imports"
    inside = entry.key[0] == "extra_files" and not Path(entry.source).is_absolute()
    if inside and (around := os.path.commonpath([first, entry.source])):
        return f'list "{around}", whose subfolders stay, instead of them; or rename one'
    return "rename one: a file lands at the archive's root by its basename"


def _outline(path: Path) -> ModuleOutline | None:
    """Return a file's outline, or None if it has none: then another finding says why."""
    try:
        return outline(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None


def _check_handler(project: Project, spec: ArchiveSpec) -> Iterator[Finding]:
    """TorchServe calls a module-level `handle`, the named entry point, or the only class."""
    if spec.handler_file is None or not spec.handler_file.endswith(".py"):
        return
    found = _outline(project.root / spec.handler_file)
    if found is not None and len(found.classes) != 1 and "*" not in found.names:
        # With exactly one class TorchServe falls back to it, whatever the entry point.
        entry_point = spec.entry_point or "handle"
        if spec.entry_point and spec.entry_point not in found.names:
            close = difflib.get_close_matches(spec.entry_point, found.names, n=1)
            message = f"there is no function {spec.entry_point!r} in {spec.handler_file}"
            hint = f"did you mean {close[0]!r}?" if close else "define it at the file's top level"
            yield _in_spec(project, spec, "handler-function", ("handler",), message, hint)
        elif entry_point not in found.names:
            yield _class_count(spec.handler_file, found, "a handler")


def _check_model_file(project: Project, spec: ArchiveSpec) -> Iterator[Finding]:
    if spec.model_file is None:
        return
    found = _outline(project.root / spec.model_file)
    if found is not None and len(found.classes) != 1:
        yield _class_count(spec.model_file, found, "a model file")


def _class_count(file: str, found: ModuleOutline, kind: str) -> Finding:
    if not found.classes:
        return Finding(
            f"{kind} must define exactly one class, and this one defines none",
            "imported classes do not count: derive a class of its own here",
            file,
            1,
            rule="classes",
        )
    names = ", ".join(definition.name for definition in found.classes)
    return Finding(
        f"{kind} must define exactly one class, and this one defines {len(found.classes)}: {names}",
        "move the others to a file of their own and import it here",
        file,
        found.classes[1].line,
        rule="classes",
    )


def _check_weights(project: Project, spec: ArchiveSpec) -> Iterator[Finding]:
    """A model file needs a state_dict; what else a handler may load on its own is its business."""
    path = project.root / (spec.serialized_file or "")
    if not path.is_file() or not os.access(path, os.R_OK):
        return
    wants_state_dict = spec.model_file is not None and path.suffix in (".pt", ".pth")
    if (wants_state_dict or path.stat().st_size == 0) and (problem := state_dict_problem(path)):
        message = f"{spec.serialized_file}: {problem.message}"
        yield _in_spec(project, spec, "weights", ("serialized_file",), message, problem.hint)


def _check_workers(project: Project, spec: ArchiveSpec) -> Iterator[Finding]:
    low, high = spec.serving.get("minWorkers"), spec.serving.get("maxWorkers")
    if low is not None and high is not None and low > high:
        message = f"minWorkers = {low} is more than maxWorkers = {high}"
        hint = "lower it, or raise the other"
        yield _in_spec(project, spec, "serving-workers", ("serving", "minWorkers"), message, hint)


def _check_samples(project: Project, spec: ArchiveSpec) -> Iterator[Finding]:
    if not spec.samples:
        yield Finding(
            f"{spec.name} has no sample, so nothing proves that it answers rightly",
            f"add [[archives.{spec.name}.samples]] with a request and its expected response",
            SPEC_FILE,
            project.spec_file.line(spec.name),
            Severity.WARNING,
            "no-sample",
        )
