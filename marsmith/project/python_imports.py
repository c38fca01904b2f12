"""What a Python file imports when it is imported itself; text in, names out; no IO."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Import:
    """An imported module, its line, and whether the file can do without it."""

    module: str  # dotted, absolute
    line: int
    optional: bool  # within try, if or with, or only when a function runs


def imports(tree: ast.Module, package: str = "") -> list[Import]:
    """Return all imports of a file; `package` is where relative ones start."""
    return list(_imports(tree.body, package, optional=False))


def _imports(body: list[ast.stmt], package: str, *, optional: bool) -> Iterator[Import]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, optional) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: -node.level + 1 or None] if node.level else []
            module = ".".join(filter(None, [*parts, node.module]))
            if module:
                yield Import(module, node.lineno, optional)
        elif not _is_for_type_checkers(node):
            for field in ("body", "handlers", "orelse", "finalbody", "cases"):
                inner = getattr(node, field, [])
                certain = isinstance(node, ast.ClassDef) or field == "finalbody"
                yield from _imports(inner, package, optional=optional or not certain)


def _is_for_type_checkers(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def bound_names(tree: ast.AST) -> dict[str, str]:
    """Return what the names that a file imports anywhere stand for: `m` → `torchvision.models`."""
    bound = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                bound[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return bound
