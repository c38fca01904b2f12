"""marsmith/project/python_imports.py."""

from __future__ import annotations

import ast

import pytest

from marsmith.project.python_imports import Import, imports


def found(source: str, package: str = "") -> list[Import]:
    return imports(ast.parse(source), package)


def modules(source: str, package: str = "") -> list[tuple[str, ...]]:
    return [one.modules for one in found(source, package)]


def test_an_import_names_its_modules() -> None:
    assert modules("import a, b.c as d\n") == [("a",), ("b.c",)]
    assert modules("from a.b import c, d as e\n") == [("a.b", "a.b.c", "a.b.d")]
    assert modules("from a import *\n") == [("a",)]


@pytest.mark.parametrize(
    ("source", "optional", "guarded"),
    [
        ("import a", False, False),
        ("class C:\n  import a", False, False),
        ("def f():\n  import a", True, False),
        ("class C:\n  async def f(self):\n    import a", True, False),
        ("try:\n  import a\nexcept ImportError: pass", True, True),
        ("try: pass\nexcept ImportError:\n  import a", True, True),
        ("try: pass\nfinally:\n  import a", False, False),
        ("if x:\n  import a", True, True),
        ("if x: pass\nelse:\n  import a", True, True),
        ("match x:\n  case 1:\n    import a", True, True),
        ("def f():\n  try:\n    import a\n  except ImportError: pass", True, True),
        ("if TYPE_CHECKING: pass\nelse:\n  import a", False, False),
        ("if not TYPE_CHECKING:\n  import a", True, True),
    ],
)
def test_whether_a_file_works_without_it(source: str, optional: bool, guarded: bool) -> None:
    (only,) = found(source)
    assert (only.module, only.optional, only.guarded) == ("a", optional, guarded)


@pytest.mark.parametrize(
    "test", ["TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'", "'__main__'"]
)
def test_what_a_worker_never_runs_is_left_out(test: str) -> None:
    assert found(f"if {test}:\n    import a\n") == []


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ('importlib.import_module("a.b")', "a.b"),
        ('x = f(importlib.import_module("a"))', "a"),
        ('with import_module("a") as b: pass', "a"),
        ('@__import__("a").b\ndef f(): pass', "a"),
        ('class C(import_module("a").B): pass', "a"),
    ],
)
def test_a_literal_call_is_an_import(source: str, module: str) -> None:
    assert [one.module for one in found(source)] == [module]


@pytest.mark.parametrize("call", ["import_module(name)", "import_module()", 'load("a")', "f()()"])
def test_other_calls_are_none(call: str) -> None:
    assert found(call) == []


def test_a_relative_import_starts_at_the_package() -> None:
    assert modules("from . import a", "p.q") == [("p.q", "p.q.a")]
    assert modules("from .. import a", "p.q") == [("p", "p.a")]
    assert modules("from ..r import a", "p.q") == [("p.r", "p.r.a")]
    assert modules('import_module(".r", __package__)', "p") == [("p.r",)]


@pytest.mark.parametrize("package", ["", "p"])
def test_one_that_leads_out_of_the_package_says_so(package: str) -> None:
    (only,) = found("from ..r import a", package)
    assert (only.module, only.names, only.outside) == ("r", ("a",), True)
