"""marsmith/cli/tables.py: on terminals of several widths, and in a pipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.terminal import on_terminal

CODE = """
import click
from rich.text import Text
from marsmith.cli.tables import *
LONG = "a-long-name-" * 8
with click.Context(click.Command("test")):
    print_heading("heading " + LONG)
    print_table(
        ("name", "count", "text"),
        [(LONG, 1234, "words to fold " * 9), ("\\x1b[2Jb\\nc", 5, Text("red", "red"))],
        right=("count",), fold=("text",), indent=2,
    )
    print_heading("pairs")
    print_pairs([("name", "word " * 50), ("other", "x" * 300), ("", "")])
    print_pairs([])
    print_line(LONG)
    print_cells([(f"file-{n}.txt", f"{n} B") for n in range(20)])
    print_cells([("n" * 120, "1 B")])
    print_cells([])
"""


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_on_a_terminal_every_line_fits(tmp_path: Path, columns: int) -> None:
    status, seen = on_terminal(cwd=tmp_path, code=CODE, columns=columns, env={"TERM": "dumb"})
    assert status == 0, seen
    lines = [line.rstrip("\r") for line in seen.split("\n")]
    assert max(map(len, lines)) <= columns
    assert ("…" in seen) is (columns < 200)
    assert "\x1b" not in seen
    assert "\\x1b[2Jb\\nc" in seen
    assert "file-19.txt" in seen


def test_numbers_are_aligned_at_their_right(tmp_path: Path) -> None:
    lines = on_terminal(cwd=tmp_path, code=CODE, env={"TERM": "dumb"})[1].splitlines()
    assert lines[1].index("count") + len("count") == lines[2].index("1234") + len("1234")


def test_where_columns_are_too_many_each_row_is_a_list(tmp_path: Path) -> None:
    code = "from marsmith.cli.tables import *\n"
    code += "print_table([f'column-{n}' for n in range(12)], [range(1000, 1012), range(12)])"
    narrow = on_terminal(cwd=tmp_path, code=code, columns=40)[1]
    assert ["column-11", "1011"] in [line.split() for line in narrow.splitlines()]
    wide = on_terminal(cwd=tmp_path, code=code, columns=160)[1]
    assert [str(n) for n in range(12)] in [line.split() for line in wide.splitlines()]


def test_in_a_pipe_a_row_is_a_line_with_full_values(capsys: pytest.CaptureFixture[str]) -> None:
    exec(CODE, {})  # noqa: S102
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line.split() for line in lines if "1234" in line]
    assert row == ["a-long-name-" * 8, "1234", *(["words", "to", "fold"] * 9)]
    assert ["file-19.txt", "19", "B"] in [line.split() for line in lines]
    assert all(line == line.rstrip() for line in lines)
    assert "…" not in "".join(lines)


@pytest.mark.parametrize(
    ("env", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=["terminal", "NO_COLOR", "dumb"],
)
def test_colours_are_there_if_the_terminal_and_the_user_want_them(
    tmp_path: Path, env: dict[str, str], coloured: bool
) -> None:
    code = CODE + "\nfrom marsmith.cli.output import echo\necho(('red', 'red'))"
    seen = on_terminal(cwd=tmp_path, code=code, env=env)[1]
    assert ("\x1b[31mred" in seen) is coloured
    assert seen.count("\x1b[31m") == 2 * coloured
    assert ("\x1b" in seen) is coloured  # bold headings are no exception
