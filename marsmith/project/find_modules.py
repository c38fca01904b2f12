"""Which files an import of a dotted name runs, looked for below one folder of `sys.path`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

HANDLERS_PACKAGE = "marsmith_handlers"
_ENGINES_FILE = "torch_engines.py"  # of handlers that know handler_config.engine and dtype
_INIT = "__init__.py"
_ENDINGS = (f"/{_INIT}", ".py")


@dataclass(frozen=True)
class Module:
    """A Python file; `name` is its path below `root`, the folder that `sys.path` has to hold."""

    name: str
    root: Path
    installed: bool = False  # found in the environment, not in the project

    @property
    def file(self) -> Path:
        """Where it is."""
        return self.root / self.name

    @property
    def package(self) -> str:
        """The package that its relative imports start at, or "" for a module at the top."""
        return ".".join(PurePosixPath(self.name).parent.parts)

    @property
    def is_package(self) -> bool:
        """Whether it is the `__init__.py` of a package."""
        return PurePosixPath(self.name).name == _INIT


@dataclass(frozen=True)
class Located:
    """The files of a dotted name, outermost package first.

    `own` is the file of the whole name; None if that is a bare folder, or is not there. `complete`
    says which of the two.
    """

    modules: tuple[Module, ...] = ()
    own: Module | None = None
    complete: bool = False


def locate(root: Path, module: str, *, installed: bool = False) -> Located:
    """Return the files that `import module` runs if `root` is where it is looked for.

    A folder without an `__init__.py` counts only for a file in it: bare, it may be anything.
    """
    found: list[Module] = []
    own, inside = None, ""
    parts = module.split(".")
    for position, part in enumerate(parts, start=1):
        package, file = (Module(f"{inside}{part}{end}", root, installed) for end in _ENDINGS)
        if package.file.is_file():
            own = package
        elif file.file.is_file():
            whole = position == len(parts)
            return Located((*found, file), file if whole else None, whole)
        elif (root / inside / part).is_dir():
            own = None
        else:
            return Located(tuple(found))
        found += [own] if own else []
        inside += f"{part}/"
    return Located(tuple(found), own, complete=bool(found))


def package_root(file: Path) -> Path:
    """Return the folder that holds the outermost package around a file."""
    folder = file.parent
    while (folder / _INIT).is_file():
        folder = folder.parent
    return folder


def is_standard(module: str) -> bool:
    """Tell a module of the standard library by its top name."""
    return module.partition(".")[0] in sys.stdlib_module_names


def has_engines(names: Iterable[str]) -> bool:
    """Tell by its files' names whether an archive loads its model as marsmith_handlers do."""
    return any(PurePosixPath(name).name == _ENGINES_FILE for name in names)


def installed_handlers() -> Path | None:
    """Return the folder that holds the installed `marsmith_handlers`, without importing it."""
    spec = importlib.util.find_spec(HANDLERS_PACKAGE)
    return Path(spec.origin).absolute().parents[1] if spec and spec.origin else None
