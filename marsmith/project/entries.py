"""Which file of a project lands where in its archive, and why.

torch-model-archiver copies everything to the archive's root by its basename; a folder among the
extra files is emptied into the root and keeps its subfolders (model_packaging_utils.py). What the
handler and the model import comes along under the name it is imported by.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marsmith.answers.requests import likely_type
from marsmith.answers.samples import SAMPLES_FILE, SAMPLES_FOLDER, Sample, format_samples
from marsmith.archive.manifest import MANIFEST_FILE
from marsmith.archive.model_config import parse_model_config
from marsmith.archive.stored_zip import Content
from marsmith.project.find_modules import HANDLERS_PACKAGE, Module, package_root
from marsmith.project.follow_imports import Following, follow
from marsmith.project.project import Project
from marsmith.project.spec import ArchiveSpec

MODEL_CONFIG_FILE = "model-config.yaml"
Key = tuple[str | int, ...]
_SINGLE = ("handler", "model_file", "serialized_file", "requirements_file")
_WILDCARDS = "*?["
# What a folder may hold besides its files: caches of tools, and hidden files such as .git or .env.
_CACHES = ("__pycache__",)


@dataclass(frozen=True)
class Entry:
    """A file of an archive: its name there, the project's file, and what brings it.

    `source` is the file as a message names it: below the project's root, or in full. `key` is the
    key of the spec that names it, with its position in a list; `line` is that of the import.
    """

    name: str
    source: str
    file: Path
    reason: str
    key: Key = ()
    importer: str | None = None
    line: int | None = None
    installed: bool = False


def entries(project: Project, spec: ArchiveSpec) -> Iterator[Entry]:
    """Yield an entry for each file of a project that goes into an archive.

    Names may repeat: that is a collision, and `building.preflight` reports it.
    """
    yield from _named(project, spec)
    for followed in following(project, spec).modules:
        module, importer = followed.module, shown(project, followed.importer.file)
        reason = f"imported by {importer}:{followed.line}"
        source = shown(project, module.file)
        yield Entry(
            module.name,
            source,
            module.file,
            reason,
            importer=importer,
            line=followed.line,
            installed=module.installed,
        )


@dataclass(frozen=True)
class Listed:
    """A file of an archive as `build --list` shows it; `source` is None if build makes it."""

    name: str
    source: str | None
    reason: str


def listing(project: Project, spec: ArchiveSpec) -> list[Listed]:
    """Return each file that the archive will hold, by name, with all that brings it."""
    sources: dict[str, str] = {}
    reasons: dict[str, list[str]] = {}
    for entry in entries(project, spec):
        sources.setdefault(entry.name, entry.source)
        reasons.setdefault(entry.name, []).append(entry.reason)
    found = [Listed(name, sources[name], ", ".join(why)) for name, why in reasons.items()]
    written = [name for name in generated(project, spec) if name not in sources]
    found += [Listed(name, None, "written by build") for name in (*written, MANIFEST_FILE)]
    return sorted(found, key=lambda one: one.name)


def following(project: Project, spec: ArchiveSpec) -> Following:
    """Follow the imports of the handler and the model.

    Python files among the extra files may be imported by a computed name: what they import is
    brought too, but they may be anything, so nothing is said of their faults.
    """
    first = [project.root / one for one in (spec.handler_file, spec.model_file) if one]
    listed = [path for one in spec.extra_files for path in matches(project, one)]
    folders = [folder for path in first for folder in (path.parent, package_root(path))]
    folders.append(project.root)
    result = follow((Module(path.name, path.parent) for path in first), folders)
    python = (Module(path.name, path.parent) for path in listed if path.suffix == ".py")
    known = {(one.module.name, one.module.file) for one in result.modules}
    known |= {(path.name, path) for path in first}
    for one in follow(python, folders).modules:
        if (one.module.name, one.module.file) not in known:
            result.modules.append(one)
    return result


def shown(project: Project, file: Path) -> str:
    """Return a file's path below the project's root, or in full if it is elsewhere."""
    if file.is_relative_to(project.root):
        return file.relative_to(project.root).as_posix()
    parts = file.parts
    if HANDLERS_PACKAGE in parts:  # installed: its place in the environment says nothing
        return "/".join(parts[parts.index(HANDLERS_PACKAGE) :])
    return file.as_posix()


def _named(project: Project, spec: ArchiveSpec) -> Iterator[Entry]:
    """Yield the files that the spec names."""
    for key in _SINGLE:
        if written := spec.handler_file if key == "handler" else getattr(spec, key):
            yield Entry(Path(written).name, written, project.root / written, key, (key,))
    if spec.config_file:
        file = project.root / spec.config_file
        yield Entry(MODEL_CONFIG_FILE, spec.config_file, file, "config_file", ("config_file",))
    for index, written in enumerate(spec.extra_files):
        for name, path in _extra(project, written):
            source = shown(project, path)
            yield Entry(name, source, path, "extra_files", ("extra_files", index))
    for index, sample in enumerate(spec.samples):
        for key in ("request", "response"):
            written = getattr(sample, key)
            name = f"{SAMPLES_FOLDER}/{Path(written).name}"
            yield Entry(name, written, project.root / written, "sample", ("samples", index, key))


def _extra(project: Project, written: str) -> Iterator[tuple[str, Path]]:
    for path in matches(project, written):
        yield from _folder(path) if path.is_dir() else [(path.name, path)]


def generated(project: Project, spec: ArchiveSpec) -> dict[str, bytes]:
    """Return the files that build writes. Raises ArchiveError if config_file is no YAML table."""
    files = {}
    if values := spec.model_config_values():  # without them, a config_file stays as it is written
        import yaml  # a no-op build needs no file's content

        values = _merged(config_file_values(project, spec), values)
        files[MODEL_CONFIG_FILE] = yaml.safe_dump(values, allow_unicode=True).encode()
    if spec.samples:
        files[SAMPLES_FILE] = format_samples(
            tuple(
                Sample(
                    f"{SAMPLES_FOLDER}/{Path(sample.request).name}",
                    f"{SAMPLES_FOLDER}/{Path(sample.response).name}",
                    sample.tolerance,
                    sample.largest,
                    sample.kind,
                    sample.content_type or likely_type(sample.request),
                    sample.headers,
                )
                for sample in spec.samples
            )
        )
    return files


def config_file_values(project: Project, spec: ArchiveSpec) -> dict[str, Any]:
    """Return the values of a spec's config_file; none without one. Raises ArchiveError, OSError."""
    if spec.config_file is None:
        return {}
    return parse_model_config((project.root / spec.config_file).read_bytes(), spec.config_file)


def _merged(values: dict[str, Any], tables: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a file with those of the spec's tables in their place."""
    own = values.get("handler_config")
    inside = tables.get("handler_config")
    both = {"handler_config": own | inside} if isinstance(own, dict) and inside else {}
    return values | tables | both


def contents(project: Project, spec: ArchiveSpec) -> dict[str, Content]:
    """Return everything an archive holds but its manifest: name → bytes or file."""
    files: dict[str, Content] = {entry.name: entry.file for entry in entries(project, spec)}
    return files | generated(project, spec)


def matches(project: Project, written: str) -> list[Path]:
    """Return the files or folders an entry of `extra_files` means; wildcards may match several."""
    if not any(character in written for character in _WILDCARDS):
        return [project.root / written]
    found = glob.glob(written, root_dir=project.root)  # noqa: PTH207 (relative, as written)
    return [project.root / name for name in sorted(found)]


def _folder(folder: Path) -> Iterator[tuple[str, Path]]:
    seen = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(root))
        # A link to a folder counts as that folder, but not one that leads back up.
        folders[:] = sorted(
            name
            for name in folders
            if _is_kept(name) and os.path.realpath(Path(root, name)) not in seen
        )
        for name in sorted(filter(_is_kept, files)):
            path = Path(root, name)
            yield path.relative_to(folder).as_posix(), path


def _is_kept(name: str) -> bool:
    return not name.startswith(".") and name not in _CACHES and not name.endswith((".pyc", ".pyo"))


def source_names(project: Project) -> Callable[[str, str], str]:
    """Return a function that leads from an archive's entry back to the project's file."""

    def source_name(archive: str, name: str) -> str:
        spec = project.archives.get(archive)
        found = entries(project, spec) if spec else ()
        return next((entry.source for entry in found if entry.name == name), name)

    return source_name
