"""marsmith/check/classes.py: constructors, methods, and what hides them."""

from __future__ import annotations

from pathlib import Path

import pytest

from marsmith.check.classes import check_handler, check_model
from tests.unit.check.archives import module, subject

METHODS = "    def initialize(self, c): ...\n    def handle(self, d, c): ...\n"


def rules(folder: Path, code: str) -> list[tuple[str, int | None]]:
    archive = subject(folder, {"h.py": code})
    return [(one.rule, one.line) for one in check_handler(archive, module(archive))]


@pytest.mark.parametrize(
    ("arguments", "sound"),
    [
        ("", True),
        (", a=1, *, b=2", True),
        (", *args, **more", True),
        (", a", False),
        (", a, b=1", False),
        (", *, b", False),
        (", a, /, b=1", False),
    ],
)
def test_a_class_is_built_without_arguments(tmp_path: Path, arguments: str, sound: bool) -> None:
    code = f"class Own:\n    def __init__(self{arguments}): ...\n"
    expected = [] if sound else [("constructor", 2)]
    assert rules(tmp_path, code + METHODS) == expected
    archive = subject(tmp_path, {"net.py": code})
    found = list(check_model(archive, module(archive, "net.py")))
    assert [(one.rule, one.line) for one in found] == expected


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("class Own:\n    def handle(self, d, c): ...\n", [("handler-methods", 1)]),
        ("\nclass Own:\n    def initialize(self, c): ...\n", [("handler-methods", 2)]),
        ("from b import Base\nclass Own(Base):\n    pass\n", []),
        ("class Own:\n" + METHODS, []),
        ("def handle(data, context): ...\n", []),
    ],
)
def test_methods_that_are_missing_and_cannot_be_inherited(
    tmp_path: Path, code: str, found: list[tuple[str, int]]
) -> None:
    assert rules(tmp_path, code) == found


@pytest.mark.parametrize(
    ("line", "hidden"),
    [
        ("self.handle = None", True),
        ("self.preprocess = {}", True),
        ("self.handle = timed(self.handle)", False),
        ("self.model = None", False),
        ("other.handle = None", False),
    ],
)
def test_attributes_that_take_a_methods_place(tmp_path: Path, line: str, hidden: bool) -> None:
    code = f"from b import Base\nclass Own(Base):\n{METHODS}    def f(self):\n        {line}\n"
    assert rules(tmp_path, code) == ([("hides-method", 6)] if hidden else [])


def test_of_a_class_without_a_base_only_its_own_methods_can_be_hidden(tmp_path: Path) -> None:
    code = f"class Own:\n{METHODS}    def f(self):\n        self.preprocess = 1\n"
    assert rules(tmp_path, code) == []
