"""docs/errors.md lists every code of an error and every rule of a finding, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.test_layers import ROOMS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/errors.md").read_text()
NAMES = {"code", "rule"}
# Rooms whose tables are being filled: take each out when it is complete.
PENDING = set(ROOMS)


def in_code(room: str) -> set[str]:
    """Return the codes and rules that are written in a room's modules."""
    found: set[str] = set()
    for path in (ROOT / "marsmith" / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            for value in _values(node):
                found |= _texts(value, path)
    return found - {""}


def _values(node: ast.AST) -> Iterator[ast.expr]:
    """Yield what is given for `code` or `rule`: in a call, as a default, in a class."""
    if isinstance(node, ast.keyword) and node.arg in NAMES:
        yield node.value
    if isinstance(node, ast.arguments):
        named = [*node.posonlyargs, *node.args][-len(node.defaults) or None :]
        pairs = [*zip(named, node.defaults), *zip(node.kwonlyargs, node.kw_defaults)]  # noqa: B905
        yield from (value for name, value in pairs if name.arg in NAMES and value is not None)
    if isinstance(node, ast.ClassDef):
        lines = [line for line in node.body if isinstance(line, ast.Assign)]
        yield from (line.value for line in lines if ast.unparse(line.targets[0]) in NAMES)


def _texts(value: ast.expr, path: Path) -> set[str]:
    """Return the literals in an expression such as `"a"` or `"a" if b else "c"`."""
    assert not isinstance(value, ast.JoinedStr), f"{path}:{value.lineno}: write codes as literals"
    if isinstance(value, ast.IfExp):
        return _texts(value.body, path) | _texts(value.orelse, path)
    return (
        {value.value} if isinstance(value, ast.Constant) and isinstance(value.value, str) else set()
    )


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


def _rooms() -> list[object]:
    unfinished = pytest.mark.xfail(reason="its table is being filled", strict=False)
    return [pytest.param(room, marks=unfinished if room in PENDING else ()) for room in ROOMS]


@pytest.mark.parametrize("room", _rooms())
def test_the_table_of_a_room_has_its_codes(room: str) -> None:
    assert sorted(in_page(room)) == sorted(in_code(room))


def test_there_is_a_table_for_each_room() -> None:
    titles = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert [title for title in titles if title in ROOMS] == ROOMS


@pytest.mark.parametrize("row", rows_of(PAGE), ids=lambda row: row[0])
def test_a_row_has_a_code_a_cause_and_a_cure(row: list[str]) -> None:
    assert len(row) == 3
    assert all(row)
    assert re.fullmatch(r"`?[a-z0-9-]+`?", row[0])
