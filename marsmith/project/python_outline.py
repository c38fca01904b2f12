"""What a Python file would define if it were imported, without importing it.

TorchServe's loader (ts/model_loader.py, ts/utils/util.py) wants exactly one class of the module's
own, or, in a handler, a module-level function; imported classes don't count.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeGuard

from marsmith.core.suggestions import did_you_mean
from marsmith.project.python_imports import is_never_entered

# What others call by these names: TorchServe, torch.
_CALLED = ("initialize", "handle", "preprocess", "inference", "postprocess", "forward")
_PLAIN = ("classmethod", "staticmethod", "property")


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


@dataclass(frozen=True)
class OutlineProblem:
    """Why TorchServe finds nothing to call or to build in a file; `rule` is that of the finding."""

    message: str
    hint: str
    line: int
    rule: str


def handler_problem(found: ModuleOutline, entry_point: str | None) -> OutlineProblem | None:
    """Return why TorchServe cannot use a handler; `entry_point` is the function of FILE:function.

    It calls that or `handle`; where there is none, it takes the only class.
    """
    definition = next((one for one in found.classes if one.name == entry_point), None)
    if definition:
        others = [one.name for one in found.classes if one is not definition]
        hint = "name the file alone: TorchServe takes the only class that it defines"
        if others:
            hint += f"; move {', '.join(others)} to a file beside it and import from there"
        return OutlineProblem(
            f"{entry_point} is a class, and TorchServe calls what follows the colon as a function",
            hint,
            definition.line,
            rule="handler-function",
        )
    if "*" in found.names or (entry_point or "handle") in found.names or len(found.classes) == 1:
        return None
    if entry_point:
        hint = did_you_mean(entry_point, found.names, "define it at the file's top level")
        message = f"there is no function {entry_point!r}"
        return OutlineProblem(message, hint, 1, rule="handler-function")
    return class_problem(found, "handler")


def class_problem(found: ModuleOutline, kind: str) -> OutlineProblem | None:
    """Return why TorchServe cannot tell which class of a `kind` of file to use."""
    if len(found.classes) == 1:
        return None
    names = ", ".join(definition.name for definition in found.classes)
    message = f"a {kind} must define exactly one class, and this one defines "
    if not found.classes:
        hint = "imported classes do not count: derive a class of its own here"
        return OutlineProblem(f"{message}none", hint, 1, rule="classes")
    hint = (
        "move the others to a file beside it and import them from there: imported classes do not "
        "count"
    )
    line = found.classes[1].line
    return OutlineProblem(f"{message}{len(found.classes)}: {names}", hint, line, rule="classes")


def _module_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements that run at import, also those under `if`, `try` and `with`."""
    for node in body:
        if isinstance(node, ast.If) and is_never_entered(node):
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


def unused_functions(trees: Iterable[ast.AST], called: Collection[str] = ()) -> set[str]:
    """Return the functions and methods of these files that nothing in them uses.

    They run, if at all, when a file is started as a program. `called` are those that somebody
    else calls.
    """
    trees, unused = list(trees), set[str]()
    while True:
        nodes = [node for tree in trees for node in _walk(tree, unused)]
        plain = {one.name for one in nodes if is_plain_function(one)}
        more = plain - {_name(node) for node in nodes} - {*called, *_CALLED}
        if not more:
            return unused
        unused |= more


def is_plain_function(node: ast.AST) -> TypeGuard[ast.FunctionDef]:
    """Whether it is an undecorated function that is called only by its name."""
    if not isinstance(node, ast.FunctionDef) or node.name.startswith("__"):
        return False
    return all(ast.unparse(one) in _PLAIN for one in node.decorator_list)


def _walk(tree: ast.AST, unused: Collection[str]) -> Iterator[ast.AST]:
    """Yield what runs when a file is imported and its functions are called."""
    if isinstance(tree, ast.If) and "__name__" in ast.unparse(tree.test):
        return
    if is_plain_function(tree) and tree.name in unused:
        return
    yield tree
    for node in ast.iter_child_nodes(tree):
        yield from _walk(node, unused)


def _name(node: ast.AST) -> str | None:
    """Return the name that an expression or an import uses."""
    if isinstance(node, ast.alias):
        return node.name
    return getattr(node, "attr", None) or getattr(node, "id", None)
