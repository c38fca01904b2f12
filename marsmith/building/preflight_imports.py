"""Do the imports of a project's handler and model lead to files, or to what a server has?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from marsmith.archive.requirements import declared, normal_name
from marsmith.core.findings import Finding, Severity
from marsmith.core.installed import is_installed
from marsmith.core.suggestions import closest, did_you_mean
from marsmith.project.distributions import (
    distributions_of,
    how_to_provide,
    is_distribution,
    is_known,
)
from marsmith.project.entries import Entry, following, shown
from marsmith.project.find_modules import HANDLERS_PACKAGE, Module
from marsmith.project.follow_imports import Unfound
from marsmith.project.hidden_modules import hidden_by
from marsmith.project.project import Project
from marsmith.project.python_imports import Import
from marsmith.project.read_module import NotPython, read_module
from marsmith.project.spec import SPEC_FILE, ArchiveSpec

# What an environment made for TorchServe has, whether installed here or not.
_OF_TORCHSERVE = """
captum numpy packaging PIL psutil torch torchaudio torchvision ts yaml
"""
_CLOSE = 0.8  # how like a file's name a missing module's must be to be taken for a slip


def check_imports(project: Project, spec: ArchiveSpec, entries: list[Entry]) -> Iterator[Finding]:
    """Yield imports that a worker would fail at, and entries of extra_files that imports bring."""
    found = following(project, spec)
    for module, why in found.not_python:
        place = shown(project, module.file)
        yield Finding(why.message, why.hint, place, why.line, rule="syntax")
    for module, one in found.outside:
        if not one.guarded:
            yield _relative(project, module, one)
    names = {entry.name for entry in entries}
    given = _declared(project, spec)
    seen = set[tuple[str, str]]()
    for missing in found.unfound:
        top = missing.module.partition(".")[0]
        key = (top, missing.module if missing.package else "")
        if key not in seen and not missing.by.guarded and not _is_listed(missing, names):
            finding = _missing(project, missing, given)
            seen |= {key} if finding else set()
            yield from [finding] if finding else []
    yield from _check_listed(project, spec, entries)
    hidden = (hidden_by(entry.name, entry.source) for entry in entries)
    yield from filter(None, hidden)


def _relative(project: Project, module: Module, one: Import) -> Finding:
    message, hint = relative_problem(one)
    file = shown(project, module.file)
    return Finding(message, hint, file, one.line, rule="relative-import")


def relative_problem(one: Import) -> tuple[str, str]:
    """Return why a relative import of a file at the archive's top fails, and what to write."""
    names = ", ".join(one.names)
    plain = f"from {one.module} import {names}" if one.module else f"import {names}"
    message = "a relative import: TorchServe imports this file by its bare name, in no package"
    return message, f"write `{plain}`"


def _is_listed(missing: Unfound, names: set[str]) -> bool:
    """Whether extra files provide a module, also in a folder that a handler adds to `sys.path`."""
    path = missing.module if missing.package else missing.module.partition(".")[0]
    wanted = "/" + path.replace(".", "/")
    return any(
        f"/{name}".partition(f"{wanted}.")[1] or f"{wanted}/" in f"/{name}" for name in names
    )


def _declared(project: Project, spec: ArchiveSpec) -> set[str]:
    """Return the names of the distributions that the archive asks a server to install."""
    try:
        path = project.root / (spec.requirements_file or "")
        return declared(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return set()


def _missing(project: Project, missing: Unfound, given: set[str]) -> Finding | None:
    top = missing.module.partition(".")[0]
    file, line = shown(project, missing.importer.file), missing.by.line

    def finding(message: str, hint: str, severity: Severity = Severity.ERROR) -> Finding:
        return Finding(message, hint, file, line, severity, rule="missing-import")

    if missing.package is not None:
        return finding(*_not_in_package(project, missing, missing.package))
    if missing.by.optional:
        return None
    if top == HANDLERS_PACKAGE:
        message = f"imports {top}, which comes with Marsmith and is not found"
        return finding(message, "install Marsmith again, from its wheel or as its README says")
    if top == "marsmith":
        message = "imports marsmith, which build does not pack and a server need not have"
        hint = f"import from {HANDLERS_PACKAGE}, which build packs"
        return finding(message, hint, Severity.WARNING)
    if top in _OF_TORCHSERVE.split() or is_installed(top) or _is_declared(top, given):
        return None
    near = closest(top, _modules_beside(missing.importer.file), cutoff=_CLOSE)
    if near and not is_known(top):
        return finding(f"imports {top}, and there is no such module", f"did you mean {near!r}?")
    message = f"imports {top}, which is neither in the project nor installed nor declared"
    return finding(message, how_to_provide(top, project.root), Severity.WARNING)


def _is_declared(module: str, given: set[str]) -> bool:
    """Whether a requirements file declares a module, or a distribution with unknown modules."""
    own = {normal_name(name) for name in (module, *distributions_of(module))}
    return bool(given & own) or not all(map(is_distribution, given))


def _not_in_package(project: Project, missing: Unfound, package: Module) -> tuple[str, str]:
    place = shown(project, package.file)
    if not package.is_package:
        message = f"imports {missing.module}, and {place} is a module, not a package"
        return message, "import what the file defines, or make it a folder with an __init__.py"
    name = missing.module.split(".")[package.package.count(".") + 1]
    contents = read_module(package.file, package.package)
    known = set() if isinstance(contents, NotPython) else set(contents.names or ())
    known |= set(_modules_beside(package.file))
    folder = shown(project, package.file.parent)
    message = f"imports {missing.module}, and {folder} has no module and no name {name!r}"
    return message, did_you_mean(name, sorted(known), f"write {folder}/{name}.py, or correct it")


def _modules_beside(file: Path) -> list[str]:
    """Return the modules and packages in a file's folder."""
    folder = file.parent
    found = [
        path.stem for path in folder.glob("*.py") if path.name not in (file.name, "__init__.py")
    ]
    return sorted([*found, *(path.parent.name for path in folder.glob("*/__init__.py"))])


def _check_listed(project: Project, spec: ArchiveSpec, entries: list[Entry]) -> Iterator[Finding]:
    """Yield the extra files that an import brings under the same name."""
    brought = {(entry.name, entry.file.resolve()): entry for entry in entries if entry.importer}
    for entry in entries:
        if entry.key[:1] != ("extra_files",) or not isinstance(entry.key[1], int):
            continue
        same = brought.get((entry.name, entry.file.resolve()))
        written = spec.extra_files[entry.key[1]]
        if same and Path(written).name == entry.name:
            yield Finding(
                f"extra_files lists {written}, and {same.importer}:{same.line} imports it, "
                "which is enough",
                f'delete "{written}" from extra_files',
                SPEC_FILE,
                project.spec_file.line(spec.name, *entry.key),
                Severity.WARNING,
                rule="listed-import",
            )
