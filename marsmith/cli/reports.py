"""The answers to many files: as a table, as JSON, in a file, or one of them as it is.

A terminal gets no byte of an answer that it would act on: text is escaped, anything else described.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from marsmith.answers.requests import Input
from marsmith.cli.answers import Row, cells, described, keep
from marsmith.cli.output import echo, is_terminal, plain, print_json
from marsmith.cli.tables import print_table
from marsmith.core.errors import MarsmithError
from marsmith.inspect.describe_body import body_of

STDOUT = Path("-")
_TABLES = (".jsonl", ".csv")

out_option = click.option(
    "--out",
    metavar="PLACE",
    type=click.Path(path_type=Path),
    help="Save the answers: FOLDER (a file each), FILE.jsonl or FILE.csv; - writes one to stdout.",
)
accept_option = click.option(
    "--accept", default="*/*", metavar="TYPE", help="The content type to ask for."
)


def folder_of(out: Path | None) -> Path | None:
    """Return the folder that --out names, if it names one."""
    return None if out is None or out == STDOUT or out.suffix in _TABLES else out


def require_one(inputs: Sequence[Input], out: Path | None) -> None:
    """Raise UsageError for several answers on standard output, where they would run together."""
    if out == STDOUT and len(inputs) != 1:
        raise click.UsageError("--out - writes one answer: name one file")


def report(rows: list[Row], out: Path | None, *, as_json: bool, noun: str) -> None:
    """Print or save the answers, print tracebacks, and exit with 1 if any request failed."""
    if out == STDOUT:
        _write_body(rows[0])
    elif out and out.suffix in _TABLES:
        text = _json_lines(rows, noun) if out.suffix == ".jsonl" else _csv(rows, noun)
        click.echo(f"{len(rows)} answers: {keep(text.encode(), out)}")
    elif as_json:
        print_json([row.as_values(noun) for row in rows])
    else:
        table = [(row.input, *cells(row.answer, row.value)) for row in rows]
        print_table((noun, "answer", "confidence"), table, fold=("answer",))
    if not as_json:
        _print_tracebacks(rows)
    sys.exit(0 if all(row.answer.ok for row in rows) else 1)


def _write_body(row: Row) -> None:
    """Write an answer to standard output as it is; to a terminal only as text, escaped."""
    if not is_terminal():
        sys.stdout.buffer.write(row.answer.body)
    elif body_of(row.answer.body).kind in ("JSON", "text"):
        echo(plain(row.answer.text))
    else:
        raise MarsmithError(
            f"the answer is not text: {described(row.answer)}",
            "save it: --out FOLDER; or write it into a file: --out - > FILE",
            code="binary-answer",
        )


def _print_tracebacks(rows: list[Row]) -> None:
    """Print each traceback once, with the first file that it was for."""
    first: dict[tuple[str, ...], str] = {}
    for row in rows:
        first.setdefault(row.traceback, row.input)
    for traceback, name in first.items():
        if traceback:
            echo(f"\nthe handler failed for {plain(name)}:", err=True)
            echo(plain("\n".join(traceback)), err=True)


def _json_lines(rows: list[Row], noun: str) -> str:
    values = (row.as_values(noun) for row in rows)
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in values)


def _csv(rows: list[Row], noun: str) -> str:
    """Return a table whose columns are the keys of the answers."""
    flat: list[dict[str, Any]] = []
    for row in rows:
        values = row.value if isinstance(row.value, dict) else {"answer": row.value}
        flat.append({noun: row.input, "status": row.answer.status, **values})
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for one in flat for key in one)))
    writer.writeheader()
    for flat_row in flat:
        nested = {k: json.dumps(v) for k, v in flat_row.items() if isinstance(v, (dict, list))}
        writer.writerow(flat_row | nested)
    return text.getvalue()
