"""Find the environment variables that an archive's code reads and a worker does not get."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from dataclasses import replace

from marsmith.check.modules import Module
from marsmith.check.subject import Subject
from marsmith.core.findings import Finding, Severity
from marsmith.torchserve.withheld import OF_TORCHRUN, how_to_pass, is_withheld

_OURS = ("TMPDIR", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")  # set for each worker, to other values


def check_environment_reads(subject: Subject, modules: list[Module]) -> Iterator[Finding]:
    """Yield each variable that workers do not get: as a warning if it is set here."""
    seen = set[str]()
    for module in modules:
        for name, line in _reads(module.tree):
            if name in seen or name in (*_OURS, *OF_TORCHRUN) or not is_withheld(name, os.environ):
                continue
            seen.add(name)
            message = f"reads {name}, which Marsmith takes out of a worker's environment"
            hint = how_to_pass(name, f"marsmith check {subject.archive.name}")
            found = subject.presume(message, hint, module.entry, line, rule="environment")
            found = replace(found, about=name)
            if name in os.environ:
                found = replace(found, presumed=False, severity=Severity.WARNING)
            yield found


def _reads(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        found: ast.AST | None = None
        if isinstance(node, ast.Subscript) and _name(node.value) == "environ":
            found = node.slice
        elif isinstance(node, ast.Call) and node.args:
            inner = node.func.value if isinstance(node.func, ast.Attribute) else None
            of_environ = inner is not None and _name(inner) == "environ"
            if _name(node.func) == "getenv" or (of_environ and _name(node.func) == "get"):
                found = node.args[0]
        elif isinstance(node, ast.Compare) and any(_name(o) == "environ" for o in node.comparators):
            found = node.left
        if isinstance(found, ast.Constant) and isinstance(found.value, str):
            yield found.value, getattr(node, "lineno", 1)


def _name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None
