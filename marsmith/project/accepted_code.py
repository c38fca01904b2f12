"""Code in the files of an archive is refused, unless the project accepts the file by its digest."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from marsmith.archive.reader import Archive
from marsmith.core.errors import ArchiveError, ProjectError
from marsmith.project.project import Project
from marsmith.project.spec import ArchiveSpec
from marsmith.weights.checkpoint import SAVE_STATE_DICT
from marsmith.weights.code_search import FoundCode, code_in
from marsmith.weights.pickle_names import is_hostile

_SHOWN = 5  # names


def refuse_code(
    archive: Archive, accepted: Collection[str] | None = None, unpacked: Path | None = None
) -> None:
    """Raise ArchiveError if a file of an archive runs code when it is loaded, and is not accepted.

    `accepted` are digests; by default those of the project in whose model store the archive lies.
    `unpacked` is the folder that it was unpacked to, if that is what will be loaded.
    """
    shown = archive.shown
    accepted = accepted_around(shown) if accepted is None else accepted
    for found in code_in(unpacked or archive.path):
        if found.runs and found.digest not in accepted:
            hint = f"do not run it; see what it is, and what to do: marsmith check {shown}"
            file = archive.entry_of(found.file)
            message = f"{shown.name}: {file}: {code_problem(found)[0]}"
            raise ArchiveError(message, hint, code="weights-execute")


def accepted_by(project: Project) -> frozenset[str]:
    """Return the digests of all files whose code a project accepts."""
    try:
        specs = project.archives.values()
    except ProjectError:
        return frozenset()  # another error says what is wrong with it
    return frozenset(digest for spec in specs for digest in spec.accepted_code.values())


def accepted_around(path: Path) -> frozenset[str]:
    """Return the digests that the project around an archive accepts."""
    project = Project.around(path)
    return accepted_by(project) if project else frozenset()


def code_problem(found: FoundCode, spec: ArchiveSpec | None = None) -> tuple[str, str]:
    """Return what the code in a file is, and what to do about it."""
    if found.unsearchable and not found.names:
        message = f"it cannot be searched for code: {found.unsearchable}"
        return message, _accepting(found, spec, "ask its author for a plain file")
    if not found.names:
        message = f"its program uses files or more: {_listed(found.operators)}"
        return message, _accepting(found, spec, "export the model without them")
    if found.python:
        message = f"it was pickled with the code of Python {found.python}, and no other can load it"
        return f"{message}; loading it runs {_listed(found.names)}", SAVE_STATE_DICT
    message = f"loading it runs {_listed(found.names)}"
    if any(map(is_hostile, found.names)):
        return f"{message}, which looks like an attack", "do not load it; ask its author"
    if own := sorted(name for name in found.names if name.startswith("__main__.")):
        message = f"it was pickled in a notebook or script, and {own[0]} is defined nowhere else"
        return f"{message}; loading it runs {_listed(found.names)}", SAVE_STATE_DICT
    return message, _accepting(found, spec, SAVE_STATE_DICT)


def _listed(places: dict[str, str]) -> str:
    names = sorted(places, key=lambda name: (not is_hostile(name), name))
    text = ", ".join(names[:_SHOWN])
    if len(names) > _SHOWN:
        text += f" and {len(names) - _SHOWN} more"
    place = places[names[0]]
    return f"{text} ({place})" if place else text


def _accepting(found: FoundCode, spec: ArchiveSpec | None, cure: str) -> str:
    """Return a cure, and how to accept the file as it is."""
    if spec is None:
        return f"{cure}; or, if you trust it, check and run it with --accept-code {found.digest}"
    files = spec.accepted_code | {found.file: found.digest}
    pairs = ", ".join(f'"{name}" = "{digest}"' for name, digest in files.items())
    return (
        f"{cure}; or, if it is yours, accept it as it is, in [archives.{spec.name}]: "
        f"accepted_code = {{ {pairs} }}"
    )
