"""What a Python file imports; text in, names out; no IO."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_IMPORT_CALLS = ("importlib.import_module", "import_module", "__import__")


@dataclass(frozen=True)
class Import:
    """An imported module, its line, and whether the file works without it."""

    module: str  # dotted, absolute
    line: int
    optional: bool  # guarded, or only when a function runs
    guarded: bool = False  # within try, if, with or a loop
    names: tuple[str, ...] = ()  # of `from module import names`: submodules, or what it defines
    outside: bool = False  # a relative import that leads out of the file's package

    @property
    def modules(self) -> tuple[str, ...]:
        """All that may be modules: `a` and `a.b` of `from a import b`."""
        named = (".".join(filter(None, (self.module, name))) for name in self.names if name != "*")
        return tuple(filter(None, (self.module, *named)))


def imports(tree: ast.Module, package: str = "") -> list[Import]:
    """Return all imports of a file; relative ones start at `package`, which is "" for none.

    Included are those in functions, and calls of import_module() and __import__() with a literal.
    """
    return list(_Imports(package).of(tree.body, guarded=False, lazy=False))


_Node = ast.stmt | ast.excepthandler | ast.match_case


class _Imports:
    def __init__(self, package: str) -> None:
        self._package = package.split(".") if package else []

    def of(self, body: Sequence[_Node], *, guarded: bool, lazy: bool) -> Iterator[Import]:
        for node in body:
            if isinstance(node, ast.stmt):
                for imported in _imported(node):
                    yield self._import(*imported, node.lineno, guarded, lazy)
            for field in ("body", "handlers", "orelse", "finalbody", "cases"):
                if field == "body" and is_never_entered(node):
                    continue
                sure = field == "finalbody" or isinstance(node, (ast.ClassDef, *_FUNCTIONS))
                yield from self.of(
                    getattr(node, field, []),
                    guarded=guarded or not (sure or is_never_entered(node)),
                    lazy=lazy or isinstance(node, _FUNCTIONS),
                )

    def _import(
        self, module: str, names: tuple[str, ...], level: int, line: int, guarded: bool, lazy: bool
    ) -> Import:
        outside = level > len(self._package)
        around = self._package[: len(self._package) - level + 1] if level and not outside else []
        absolute = ".".join(filter(None, [*around, module]))
        return Import(absolute, line, guarded or lazy, guarded, names, outside)


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def is_never_entered(node: ast.AST) -> bool:
    """Whether a worker never runs an `if`: it is for type checkers, or for the main program."""
    if not isinstance(node, ast.If):
        return False
    test = ast.unparse(node.test)
    return test.endswith("'__main__'") or test in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _imported(node: ast.stmt) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """Yield (module, names, level) for each import that is a part of this statement itself."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, (), 0) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield node.module or "", tuple(alias.name for alias in node.names), node.level
    else:
        yield from filter(None, map(_called, _expressions(node)))


def _expressions(node: ast.stmt) -> Iterator[ast.expr]:
    """Yield the expressions of a statement, but not those of the statements in it."""
    waiting: list[ast.AST] = [node]
    while waiting:
        for child in ast.iter_child_nodes(waiting.pop()):
            if not isinstance(child, (ast.stmt, ast.excepthandler, ast.match_case)):
                waiting.append(child)
            if isinstance(child, ast.expr):
                yield child


def _called(node: ast.expr) -> tuple[str, tuple[str, ...], int] | None:
    """Return what a call with a literal first argument imports."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, (ast.Name, ast.Attribute)):
        return None
    name = node.args[0] if node.args else None
    if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
        return None
    if ast.unparse(node.func) not in _IMPORT_CALLS:
        return None
    module = name.value.lstrip(".")
    return module, (), len(name.value) - len(module)


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
