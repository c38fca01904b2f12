"""Which file of a project lands where in its archive.

torch-model-archiver copies everything to the archive's root by its basename; a folder among the
extra files is emptied into the root and keeps its subfolders (model_packaging_utils.py).
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from marsmith.answers.samples import SAMPLES_FILE, SAMPLES_FOLDER, Sample, format_samples
from marsmith.archive.stored_zip import Content
from marsmith.project.project import Project
from marsmith.project.spec import ArchiveSpec

MODEL_CONFIG_FILE = "model-config.yaml"
_WILDCARDS = "*?["
# What a folder may hold besides its files: caches of tools, and hidden files such as .git or .env.
_CACHES = ("__pycache__",)


def sources(project: Project, spec: ArchiveSpec) -> Iterator[tuple[str, str, Path]]:
    """Yield (name in the archive, path as the spec writes it, file) for each file of a project.

    Names may repeat: that is a collision, and `building.preflight` reports it.
    """
    single = (spec.handler_file, spec.model_file, spec.serialized_file, spec.requirements_file)
    for written in filter(None, single):
        yield Path(written).name, written, project.root / written
    for written in spec.extra_files:
        for path in matches(project, written):
            if path.is_dir():
                yield from ((name, written, file) for name, file in _folder(path))
            else:
                yield path.name, written, path
    for sample in spec.samples:
        for written in (sample.request, sample.response):
            yield f"{SAMPLES_FOLDER}/{Path(written).name}", written, project.root / written


def generated(spec: ArchiveSpec) -> dict[str, bytes]:
    """Return the files that an archive gets from its spec alone."""
    import yaml  # a no-op build needs no file's content

    files = {}
    if values := spec.model_config_values():
        files[MODEL_CONFIG_FILE] = yaml.safe_dump(values, allow_unicode=True).encode()
    if spec.samples:
        files[SAMPLES_FILE] = format_samples(
            tuple(
                Sample(
                    f"{SAMPLES_FOLDER}/{Path(sample.request).name}",
                    f"{SAMPLES_FOLDER}/{Path(sample.response).name}",
                    sample.tolerance,
                    sample.largest,
                )
                for sample in spec.samples
            )
        )
    return files


def contents(project: Project, spec: ArchiveSpec) -> dict[str, Content]:
    """Return everything an archive holds but its manifest: name → bytes or file."""
    files: dict[str, Content] = {name: path for name, _, path in sources(project, spec)}
    return files | generated(spec)


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

    def source_name(archive: str, entry: str) -> str:
        spec = project.archives.get(archive)
        found = sources(project, spec) if spec else ()
        return next((written for name, written, _ in found if name == entry), entry)

    return source_name
