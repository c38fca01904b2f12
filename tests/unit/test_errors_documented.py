"""docs/errors.md lists every code of an error and every rule of a finding, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.unit.test_layers import ROOMS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/errors.md").read_text()
NAMES = {"code", "rule"}
ENDINGS = ("Error", "Finding")


@cache
def trees() -> dict[Path, ast.Module]:
    """Parse every module once."""
    return {path: ast.parse(path.read_bytes()) for path in (ROOT / "marsmith").rglob("*.py")}


@cache
def _parameters() -> dict[str, set[int]]:
    """Return where functions and dataclasses of Marsmith take a code or a rule by its position."""
    places: dict[str, set[int]] = {}
    for node in (node for tree in trees().values() for node in ast.walk(tree)):
        names: list[str] = []
        if isinstance(node, ast.FunctionDef):
            names = [argument.arg for argument in node.args.args]
            names = names[1:] if names[:1] in (["self"], ["cls"]) else names
        elif isinstance(node, ast.ClassDef):
            names = [ast.unparse(one.target) for one in node.body if isinstance(one, ast.AnnAssign)]
        for name in NAMES & set(names):
            assert isinstance(node, (ast.FunctionDef, ast.ClassDef))
            places.setdefault(node.name, set()).add(names.index(name))
    return places


def in_code(room: str) -> set[str]:
    """Return the codes and rules that are written in a room's modules."""
    values = [value for tree in _trees(room) for node in ast.walk(tree) for value in _values(node)]
    return {text for value in values for text in _texts(value)} - {""}


def computed_codes() -> list[str]:
    """Return the codes of errors and findings that are put together when they are raised."""
    calls = [
        node for tree in trees().values() for node in ast.walk(tree) if isinstance(node, ast.Call)
    ]
    given = [one for call in calls if _name(call.func).endswith(ENDINGS) for one in call.keywords]
    return [
        ast.unparse(one.value)
        for one in given
        if one.arg in NAMES and isinstance(one.value, (ast.JoinedStr, ast.BinOp))
    ]


def texts_in(room: str) -> set[str]:
    """Return all literals in a room's modules: a rule may also stand in a tuple."""
    return {text for tree in _trees(room) for node in ast.walk(tree) for text in _texts(node)}


def _trees(room: str) -> list[ast.Module]:
    return [tree for path, tree in trees().items() if ROOT / "marsmith" / room in path.parents]


def _values(node: ast.AST) -> Iterator[ast.expr]:
    """Yield what is given for `code` or `rule`: in a call, by assignment, as a default."""
    if isinstance(node, ast.keyword) and node.arg in NAMES:
        yield node.value
    elif isinstance(node, ast.Call):
        places = _parameters().get(_name(node.func), set())
        yield from (node.args[place] for place in places if place < len(node.args))
    elif isinstance(node, ast.arguments):
        named = [*node.posonlyargs, *node.args][-len(node.defaults) or None :]
        pairs = [*zip(named, node.defaults), *zip(node.kwonlyargs, node.kw_defaults)]  # noqa: B905
        yield from (value for name, value in pairs if name.arg in NAMES and value is not None)
    elif isinstance(node, ast.Assign) and isinstance(node.value, (ast.Constant, ast.IfExp)):
        yield from (node.value for target in node.targets if _name(target) in NAMES)


def _name(node: ast.expr) -> str:
    """Return the last name of `a` or `b.a`."""
    return str(getattr(node, "id", getattr(node, "attr", "")))


def _texts(value: ast.AST) -> set[str]:
    """Return the literals in an expression such as `"a"` or `"a" if b else "c"`."""
    if isinstance(value, ast.IfExp):
        return _texts(value.body) | _texts(value.orelse)
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return {value.value}
    return set()


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of all rows in a text, without the heads of the tables."""
    rows = [
        re.split(r"(?<!\\)\|", line)[1:-1] for line in re.findall(r"^\|.*$", text, re.MULTILINE)
    ]
    cells = [[cell.strip() for cell in row] for row in rows]
    return [row for row in cells if row[0] != "code" and set(row[0]) != {"-"}]


def in_page(room: str) -> list[str]:
    """Return the codes in a room's table."""
    table = PAGE.partition(f"\n## {room}\n")[2].partition("\n## ")[0]
    return [row[0].strip("`") for row in rows_of(table)]


@pytest.mark.parametrize("room", ROOMS)
def test_the_table_of_a_room_has_its_codes(room: str) -> None:
    listed = in_page(room)
    assert sorted(in_code(room) - set(listed)) == []
    assert sorted(set(listed) - texts_in(room)) == []
    assert len(listed) == len(set(listed))


def test_codes_are_written_as_literals() -> None:
    assert computed_codes() == []


def test_there_is_a_table_for_each_room() -> None:
    titles = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert [title for title in titles if title in ROOMS] == ROOMS


@pytest.mark.parametrize("row", rows_of(PAGE), ids=lambda row: row[0])
def test_a_row_has_a_code_a_cause_and_a_cure(row: list[str]) -> None:
    assert len(row) == 3
    assert all(row)
    assert re.fullmatch(r"`?[a-z0-9-]+`?", row[0])
