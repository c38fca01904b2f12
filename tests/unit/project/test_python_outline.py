"""marsmith/project/python_outline.py."""

from __future__ import annotations

import pytest

from marsmith.project.python_outline import Definition, outline


def names_of(source: str) -> set[str]:
    return set(outline(source).names)


def classes_of(source: str) -> list[str]:
    return [definition.name for definition in outline(source).classes]


def test_classes_come_with_their_lines() -> None:
    source = "import a\n\nclass One: ...\n\n@a.b\nclass Two(One):\n    class Inner: ...\n"
    assert outline(source).classes == (Definition("One", 3), Definition("Two", 6))


def test_imported_classes_do_not_count_but_their_names_are_known() -> None:
    source = "from x import Handler\nfrom y import z as handle\nimport w\n"
    assert classes_of(source) == []
    assert names_of(source) == {"Handler", "handle", "w"}


def test_what_stands_in_a_function_or_a_class_is_not_at_module_level() -> None:
    source = (
        "def f():\n    class A: ...\n    def handle(): ...\nclass B:\n    def handle(self): ...\n"
    )
    assert classes_of(source) == ["B"]
    assert names_of(source) == {"f", "B"}


@pytest.mark.parametrize(
    "source",
    [
        "if x:\n    class A: ...\nelse:\n    class B: ...\n",
        "try:\n    class A: ...\nexcept ImportError:\n    class B: ...\n",
        "try:\n    pass\nfinally:\n    class A: ...\n    class B: ...\n",
        "with x:\n    class A: ...\nfor y in x:\n    class B: ...\n",
        "match x:\n    case 1:\n        class A: ...\n    case _:\n        class B: ...\n",
    ],
    ids=["if", "try", "finally", "with and for", "match"],
)
def test_classes_under_a_statement_count(source: str) -> None:
    assert classes_of(source) == ["A", "B"]


def test_a_class_defined_twice_is_one_class() -> None:
    source = "try:\n    class A: ...\nexcept ImportError:\n    class A: ...\n"
    assert classes_of(source) == ["A"]


@pytest.mark.parametrize(
    "source",
    [
        "def handle(data, context): ...",
        "async def handle(data, context): ...",
        "handle = f",
        "other = handle = f",
        "handle: object = f",
        "handle, other = f, g",
        "from x import handle",
        "import x as handle",
    ],
)
def test_a_name_may_be_bound_in_many_ways(source: str) -> None:
    assert "handle" in names_of(source)


@pytest.mark.parametrize("source", ["x.handle = f", "handle: object", "import x.handle"])
def test_what_binds_no_such_name_is_left_out(source: str) -> None:
    assert "handle" not in names_of(source)


def test_a_syntax_error_has_its_line() -> None:
    with pytest.raises(SyntaxError) as caught:
        outline("a = 1\ndef f(:\n    pass\n")
    assert caught.value.lineno == 2
