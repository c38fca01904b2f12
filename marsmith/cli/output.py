"""What a person sees: errors, findings, tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click

from marsmith.core.errors import MarsmithError
from marsmith.core.findings import Finding, FindingsError, Severity

_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow"}


def print_error(error: MarsmithError) -> None:
    """Print `error[CODE]: message` and its hint, and before them the findings it stands for."""
    if isinstance(error, FindingsError):
        print_findings(error.findings)
    click.echo(click.style(f"error[{error.code}]: ", fg="red") + plain(error.message), err=True)
    click.echo(f"  hint: {plain(error.hint)}", err=True)


def print_findings(findings: Iterable[Finding]) -> None:
    """Print each finding as `file:line: severity[RULE]: message` with its hint below."""
    for finding in findings:
        place = f"{finding.location}: " if finding.location else ""
        rule = f"[{finding.rule}]" if finding.rule else ""
        severity = click.style(f"{finding.severity.value}{rule}: ", fg=_COLOURS[finding.severity])
        lines = f"{plain(finding.message)}\n  hint: {plain(finding.hint)}"
        click.echo(f"{plain(place)}{severity}{lines}", err=True)


def plain(text: str) -> str:
    """Escape what a terminal would obey; names and messages may be of somebody else's archive."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def print_json(value: Any) -> None:
    """Print a value for other programs."""
    click.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in aligned columns."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
    for number, row in enumerate([list(columns), *texts]):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(click.style(line.rstrip(), bold=number == 0))


def file_size(size: int) -> str:
    """Return bytes as a person reads them, in units of 1000."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
