"""Find what to check: archives, folders of archives, projects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from marsmith.archive.reader import WORKFLOW_HINT, Archive
from marsmith.core.errors import ProjectError
from marsmith.project.project import Project
from marsmith.project.spec import SPEC_FILE, ArchiveSpec

_ENDINGS = (".mar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class Target:
    """An archive to check: its file, or its table in a project, or both."""

    name: str
    path: Path | None = None
    project: Project | None = None
    spec: ArchiveSpec | None = None
    archive: Archive | None = None  # already opened


def targets(texts: tuple[str, ...], find: Callable[[], Project]) -> list[Target]:
    """Return the archives behind names, files and folders; without any, all of the project.

    `find` returns the current project. Raises ProjectError for a name that is none of them.
    """
    if not texts:
        return _described(find())
    return [target for text in texts for target in _targets(text, find)]


def _targets(text: str, find: Callable[[], Project]) -> list[Target]:
    path = Path(text)
    if path.is_dir():
        return _in_folder(path)
    if path.is_file():
        refuse_request(text)
        return [_target(path)]
    if path.name.endswith(_ENDINGS) or len(path.parts) > 1:
        hint = "name an archive that exists, or build it: marsmith build NAME"
        raise ProjectError(f"there is no file {text}", hint, code="target-missing")
    project = find()
    built = project.model_store / f"{text}.mar"
    if text not in project.archives and built.exists():
        return [Target(text, built)]  # such as one that was exported
    (spec,) = project.specs((text,))
    return [Target(text, None, project, spec)]


def refuse_request(text: str) -> None:
    """Raise ProjectError if what should be an archive is a file of JSON, and so a request."""
    path = Path(text)
    if path.suffix.lower() == ".json" and path.is_file():
        message = f"{text} is no archive; --json prints JSON, and takes no file"
        hint = f"name the archive first, then the request: marsmith run NAME {text}, predict, "
        hint += f"or sample; marsmith check NAME --input {text}"
        raise ProjectError(message, hint, code="target-missing")


def _in_folder(path: Path) -> list[Target]:
    if (path / SPEC_FILE).is_file():
        return _described(Project(path.absolute()))
    if (path / "MAR-INF").is_dir():
        return [_target(path)]
    # A running server keeps hidden files beside them.
    packed = [file for file in path.glob("[!.]*.*") if file.name.endswith(_ENDINGS)]
    unpacked = [file.parent for file in path.glob("*/MAR-INF")]
    found = sorted({*packed, *unpacked})
    if not found and (workflows := sorted(file.name for file in path.glob("*.war"))):
        message = f"the folder {path} holds workflows, and no archive of a model"
        message += f": {', '.join(workflows)}"
        raise ProjectError(message, WORKFLOW_HINT, code="workflow-archive")
    if not found:
        message = f"the folder {path} holds no archive and no {SPEC_FILE}"
        hint = "name an archive, a model store or a project"
        raise ProjectError(message, hint, code="target-missing")
    return [_target(file) for file in found]


def _described(project: Project) -> list[Target]:
    return [Target(name, None, project, spec) for name, spec in project.archives.items()]


def _target(path: Path) -> Target:
    """Return an archive, with its project if it lies in a project's model store."""
    name = path.name.removesuffix(".mar")
    project = Project(path.absolute().parents[1]) if len(path.absolute().parents) > 1 else None
    if project and path.absolute().parent == project.model_store:
        try:
            if name in project.archives:
                return Target(name, path, project, project.archives[name])
        except ProjectError:
            pass  # without a project that can be read
    return Target(name, path)
