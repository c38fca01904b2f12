"""The Python files that a handler and a model lead to, found by reading them.

An import is looked for beside the importing file, in the folders of the handler and the model, at
the project's root, and, for `marsmith_handlers` alone, in the environment. Other installed
packages are never followed: a server has them installed too, or installs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from marsmith.project.find_modules import (
    HANDLERS_PACKAGE,
    Located,
    Module,
    installed_handlers,
    is_standard,
    locate,
)
from marsmith.project.python_imports import Import
from marsmith.project.read_module import Contents, NotPython, read_module


@dataclass(frozen=True)
class Followed:
    """A file that an import brings, and the first import that does."""

    module: Module
    importer: Module
    line: int


@dataclass(frozen=True)
class Unfound:
    """A module without a file; `package` is what was found of it: its package, or a file."""

    module: str
    importer: Module
    by: Import
    package: Module | None = None


@dataclass
class Following:
    """All that the imports of some files lead to, and what stood in the way."""

    modules: list[Followed] = field(default_factory=list)
    unfound: list[Unfound] = field(default_factory=list)
    outside: list[tuple[Module, Import]] = field(default_factory=list)  # relative, at the top
    not_python: list[tuple[Module, NotPython]] = field(default_factory=list)


def follow(tops: Iterable[Module], folders: Iterable[Path]) -> Following:
    """Follow the imports of files at the archive's top, and of what they import, to the end.

    Absolute imports are looked for in `folders` too.
    """
    search = _Search(folders)
    result = Following()
    waiting = [top for top in tops if top.file.is_file()]
    seen = set(waiting)
    while waiting:
        module = waiting.pop(0)
        contents = read_module(module.file, module.package)
        if isinstance(contents, NotPython):
            result.not_python.append((module, contents))
            continue
        result.outside += [(module, one) for one in contents.imports if one.outside]
        for one in contents.imports:
            for found in search.find(module, one):
                if isinstance(found, Unfound):
                    result.unfound.append(found)
                elif found not in seen:
                    seen.add(found)
                    waiting.append(found)
                    result.modules.append(Followed(found, module, one.line))
    return result


class _Search:
    """Where imports are looked for, and what they run."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = list(folders)
        self._installed = installed_handlers()

    def find(self, importer: Module, one: Import) -> Iterator[Module | Unfound]:
        """Yield the files of an import, and which of its modules have none."""
        if one.outside or is_standard(one.module):
            return
        located = self._locate(importer, one.module)
        yield from located.modules
        if not located.modules:
            yield from self._in_bare_folder(importer, one)
        elif not located.complete:
            yield Unfound(one.module, importer, one, located.modules[-1])
        elif located.own is None or located.own.is_package:
            yield from _submodules(located, importer, one)

    def _in_bare_folder(self, importer: Module, one: Import) -> Iterator[Module | Unfound]:
        """Yield the files that `from folder import names` brings if the folder is no package."""
        located = {module: self._locate(importer, module) for module in one.modules}
        hits = [module for module, found in located.items() if found.complete]
        for module in hits:
            yield from located[module].modules
        for module in one.modules[1:] if hits else one.modules[:1]:
            if module not in hits:
                yield Unfound(module, importer, one)

    def _locate(self, importer: Module, module: str) -> Located:
        is_handlers = module.partition(".")[0] == HANDLERS_PACKAGE
        if not importer.installed:
            for folder in dict.fromkeys([importer.root, *self._folders]):
                if (found := locate(folder, module)).modules:
                    return found
        if is_handlers and self._installed:
            return locate(self._installed, module, installed=True)
        return Located()


def _submodules(located: Located, importer: Module, one: Import) -> Iterator[Module | Unfound]:
    """Yield what `from package import names` brings: submodules, or nothing for a mere name."""
    package = located.modules[-1]
    contents = read_module(located.own.file, "") if located.own else Contents(names=frozenset())
    if isinstance(contents, NotPython):
        return
    exported = contents.exported if "*" in one.names else ()
    for name in (*one.names, *exported):
        module = f"{one.module}.{name}"
        found = locate(package.root, module, installed=package.installed)
        if found.complete:
            yield from found.modules
        elif contents.lacks(name) and name not in (*exported, "*"):
            yield Unfound(module, importer, one, package)
