"""A Python file as its imports and names, read once however many archives it goes into."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from marsmith.project.python_imports import Import, imports

# A package that uses one of these may have submodules and names that no file shows.
_DYNAMIC = {"__getattr__", "__path__", "globals", "setattr", "*"}


@dataclass(frozen=True)
class Contents:
    """What a module imports, which names it has (None: unknown), and its `__all__`."""

    imports: tuple[Import, ...] = ()
    names: frozenset[str] | None = None
    exported: tuple[str, ...] = ()

    def lacks(self, name: str) -> bool:
        """Whether the module certainly does not define a name."""
        return self.names is not None and name not in self.names


@dataclass(frozen=True)
class NotPython:
    """Why a file cannot be read as Python."""

    message: str
    hint: str
    line: int


def read_module(file: Path, package: str) -> Contents | NotPython:
    """Read a file whose relative imports start at `package`. A missing file has no contents."""
    try:
        stat = file.stat()
        return _read(file, package, stat.st_mtime_ns, stat.st_size, stat.st_ino)
    except (OSError, RecursionError):  # of code that nests too deep, only a worker can judge
        return Contents()


@lru_cache(maxsize=1024)
def _read(file: Path, package: str, *_stamp: int) -> Contents | NotPython:
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError as error:
        return NotPython(f"not Python: {error.msg}", "correct the line", error.lineno or 1)
    except ValueError as error:
        return NotPython(f"not Python: {error}", "save the file as UTF-8 text", 1)
    names = frozenset(_names(tree))
    known = None if names & _DYNAMIC else names
    return Contents(tuple(imports(tree, package)), known, tuple(_exported(tree)))


def _names(tree: ast.Module) -> Iterator[str]:
    """Yield all names that a file binds anywhere or, of those that say it is dynamic, uses."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and (isinstance(node.ctx, ast.Store) or node.id in _DYNAMIC):
            yield node.id
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]


def _exported(tree: ast.Module) -> Iterator[str]:
    """Yield the texts of `__all__`, which `from package import *` imports as submodules too."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(one, ast.Name) and one.id == "__all__" for one in targets):
            constants = (one for one in ast.walk(node) if isinstance(one, ast.Constant))
            yield from (one.value for one in constants if isinstance(one.value, str))
