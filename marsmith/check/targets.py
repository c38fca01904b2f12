"""What a user names to be checked: archives, folders of them, projects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from marsmith.core.errors import ProjectError
from marsmith.project.project import Project
from marsmith.project.spec import SPEC_FILE, ArchiveSpec

_ENDINGS = (".mar", ".tar.gz", ".tgz")


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
    if path.name.endswith(_ENDINGS) or len(path.parts) > 1:
        raise ProjectError(f"there is no file {text}", "name an archive that exists, or build it")
    project = find()
    built = project.model_store / f"{text}.mar"
    if text not in project.archives and built.exists():
        return [Target(text, built)]  # such as one that was exported
    (spec,) = project.specs((text,))
    return [Target(text, None, project, spec)]


def _in_folder(path: Path) -> list[Target]:
    if (path / SPEC_FILE).is_file():
        return _described(Project(path.absolute()))
    if (path / "MAR-INF").is_dir():
        return [_target(path)]
    # What a running server keeps for itself lies beside them, under hidden names.
    packed = [file for file in path.glob("[!.]*.*") if file.name.endswith(_ENDINGS)]
    unpacked = [file.parent for file in path.glob("*/MAR-INF")]
    found = sorted({*packed, *unpacked})
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
