"""What a Python file would define if it were imported, without importing it.

TorchServe's loader (ts/model_loader.py, ts/utils/util.py) wants exactly one class of the module's
own, or, in a handler, a module-level function; imported classes don't count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

# `if` with these at its end is not entered by an import.
_NEVER = ("TYPE_CHECKING", "'__main__'")


@dataclass(frozen=True)
class Definition:
    """A class or function at module level and its line, counted from 1."""

    name: str
    line: int


@dataclass(frozen=True)
class ModuleOutline:
    """The module-level names of a Python file; `*` stands for those of a star import."""

    classes: tuple[Definition, ...]
    names: frozenset[str]


def outline(source: str | bytes) -> ModuleOutline:
    """Read a file's module level. Raises SyntaxError or ValueError as the interpreter would."""
    tree = ast.parse(source)
    classes: dict[str, Definition] = {}
    names: set[str] = set()
    for node in _module_level(tree.body):
        if isinstance(node, ast.ClassDef):
            classes[node.name] = Definition(node.name, node.lineno)
        names.update(_bound_names(node))
    return ModuleOutline(tuple(classes.values()), frozenset(names))


def _module_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements that run at import, also those under `if`, `try` and `with`."""
    for node in body:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith(_NEVER):
            yield from _module_level(node.orelse)
            continue
        yield node
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            for field in ("body", "orelse", "finalbody", "handlers", "cases"):
                yield from _module_level(getattr(node, field, []))


def _bound_names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        yield node.name
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from (alias.asname or alias.name for alias in node.names)
    elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        walked = (part for target in targets for part in ast.walk(target))
        yield from (part.id for part in walked if isinstance(part, ast.Name))
