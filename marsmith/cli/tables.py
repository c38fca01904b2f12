"""Headings, tables and pairs, by rich.

On a terminal they fit its width. Elsewhere nothing is cut or folded: a row is a line with all of
its values, for `grep` and `awk`.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Sequence

import click
from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from marsmith.cli.output import is_terminal, one_line, rich_console

Cell = object  # its str() is shown; a Text keeps its style
_ENDLESS = 1_000_000  # columns of what is no terminal
_LEAST = 6  # columns that a cell is shortened to; below that a table becomes a list of pairs
_FOLDED = 8  # columns that a folded cell has before other columns are made narrower
_GAP = 2
_BEGUN = "marsmith.heading"


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    right: Collection[str] = (),
    fold: Collection[str] = (),
    indent: int = 0,
    gap: int = _GAP,
) -> None:
    """Print rows in aligned columns.

    Columns in `right` are aligned at their right. Where a row does not fit, the widest columns are
    shortened, those in `fold` continued below; where even that is too wide, each row is a list.
    """
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(columns, *texts, strict=True)]
    room = _console().width - gap * (len(widths) - 1) - indent
    if texts and sum(min(_LEAST, width) for width in widths) > room:
        _print_lists(columns, texts, indent)
        return
    widths = _fitting(widths, [name in fold for name in columns], room)
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    for name, width in zip(columns, widths, strict=True):
        table.add_column(
            Text(name, no_wrap=True, overflow="ellipsis"),
            justify="right" if name in right else "left",
            overflow="fold" if name in fold else "ellipsis",
            width=width,
        )
    for row in texts:
        for name, text in zip(columns, row, strict=True):
            text.no_wrap = name not in fold
        table.add_row(*row)
    _print(Padding(table, (0, 0, 0, indent)))


def _fitting(widths: list[int], folds: list[bool], room: int) -> list[int]:
    """Return widths that fit: columns that can be folded are made narrower before others."""
    fitting = list(widths)
    while sum(fitting) > max(room, len(fitting)):
        foldable = [n for n, width in enumerate(fitting) if folds[n] and width > _FOLDED]
        fitting[max(foldable or range(len(fitting)), key=fitting.__getitem__)] -= 1
    return fitting


def _print_lists(columns: Sequence[str], rows: list[list[Text]], indent: int) -> None:
    for number, row in enumerate(rows):
        if number:
            click.echo()
        print_pairs(zip(columns, row, strict=True), indent=indent)


def print_heading(text: str) -> None:
    """Print a heading, apart from what stands above it."""
    meta = click.get_current_context().meta
    if meta.get(_BEGUN):
        click.echo()
    meta[_BEGUN] = True
    print_line(Text(one_line(text), "bold"), indent=0)


def print_line(text: Cell, indent: int = _GAP) -> None:
    """Print a line, cut where it does not fit."""
    line = _text(text)
    line.no_wrap, line.overflow = True, "ellipsis"
    _print(Padding(line, (0, 0, 0, indent)))


def print_pairs(pairs: Iterable[tuple[Cell, Cell]], *, indent: int = _GAP) -> None:
    """Print names with their values, which go on below themselves where they are long."""
    table = Table.grid(padding=(0, _GAP, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(_text(name), _text(value))
    if table.row_count:
        _print(Padding(table, (0, 0, 0, indent)))


def print_cells(cells: Sequence[tuple[str, str]]) -> None:
    """Print pairs of a name and a size; on a terminal as many side by side as fit."""
    room = _console().width - _GAP
    sizes = max((len(size) for _, size in cells), default=0)
    names = min(max((len(name) for name, _ in cells), default=0), room - sizes - _GAP)
    tables: list[RenderableType] = []
    for name, size in cells:
        table = Table.grid(padding=(0, _GAP, 0, 0))
        table.add_column(width=names, no_wrap=True, overflow="ellipsis")
        table.add_column(width=sizes, justify="right")
        table.add_row(_text(name), _text(size))
        tables.append(table)
    if is_terminal():
        tables = [Columns(tables, padding=(0, _GAP), column_first=True)] if tables else []
    for one in tables:
        _print(Padding(one, (0, 0, 0, _GAP)))


def _text(cell: Cell) -> Text:
    return cell.copy() if isinstance(cell, Text) else Text(one_line(str(cell)))


def _width(cell: str | Text) -> int:
    return cell.cell_len if isinstance(cell, Text) else len(cell)


def _console() -> Console:
    # Without a height rich takes every dumb terminal for one of 80 columns.
    width = shutil.get_terminal_size().columns if is_terminal() else _ENDLESS
    return rich_console(width=width, height=25)


def _print(shown: RenderableType) -> None:
    """Print without the blanks that rich fills lines with; a pipe that breaks raises as usual."""
    console = _console()
    with console.capture() as capture:
        console.print(shown)
    for line in capture.get().splitlines():
        click.echo(line.rstrip(" "), color=True)
