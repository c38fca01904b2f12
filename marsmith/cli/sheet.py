"""Headings, aligned pairs and rows that fit a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Sequence

import click

WIDTH = 100  # columns
_GAP = "  "


def print_heading(text: str) -> None:
    """Print a heading, apart from what stands above it."""
    click.echo(("\n" if _has_begun() else "") + click.style(_cut(text, WIDTH), bold=True))


def _has_begun() -> bool:
    """Tell whether this command has printed a heading before, and note that it does now."""
    context = click.get_current_context()
    begun = bool(context.meta.get(__name__))
    context.meta[__name__] = True
    return begun


def print_line(text: str) -> None:
    """Print a line of a list, cut where it does not fit."""
    click.echo(_cut(_GAP + text, WIDTH))


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names with their values, which go on below themselves where they are long."""
    found = list(pairs)
    width = max((len(click.unstyle(name)) for name, _ in found), default=0)
    for name, value in found:
        room = WIDTH - width - 2 * len(_GAP)
        lines = textwrap.wrap(value, room, break_on_hyphens=False) or [""]
        lines = lines if len(click.unstyle(value)) > room else [value]
        click.echo(f"{_GAP}{name}{' ' * (width - len(click.unstyle(name)))}{_GAP}{lines[0]}")
        for line in lines[1:]:
            click.echo(" " * (width + 2 * len(_GAP)) + line)


def print_rows(
    columns: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[int] = ()
) -> None:
    """Print rows in aligned columns; the widest are cut where they do not fit.

    Columns of the numbers in `right` are aligned at their right.
    """
    texts = [list(columns), *map(list, rows)]
    widths = _fitting([max(map(len, column)) for column in zip(*texts, strict=True)])
    for number, row in enumerate(texts):
        cut = [_cut(cell, width) for cell, width in zip(row, widths, strict=True)]
        cells = [
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(cut, widths, strict=True))
        ]
        click.echo(click.style((_GAP + _GAP.join(cells)).rstrip(), dim=number == 0))


def _fitting(widths: list[int]) -> list[int]:
    """Return widths of columns that fit the line: as they are, or the widest made smaller."""
    room, fitting = WIDTH - len(_GAP) * len(widths), list(widths)
    while sum(fitting) > room:
        fitting[fitting.index(max(fitting))] -= 1
    return fitting


def print_cells(cells: Sequence[tuple[str, str]]) -> None:
    """Print pairs of a name and a number, as many beside each other as fit, in columns."""
    if not cells:
        return
    widths = _fitting([max(len(cell[part]) for cell in cells) for part in (0, 1)])
    texts = [
        f"{_GAP}{_cut(name, widths[0]).ljust(widths[0])}{_GAP}{size.rjust(widths[1])}"
        for name, size in cells
    ]
    across = max(1, WIDTH // (sum(widths) + 3 * len(_GAP)))
    down = -(-len(texts) // across)
    for line in range(down):
        click.echo(_GAP.join(texts[line::down]).rstrip())


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
