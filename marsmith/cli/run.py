"""`marsmith run`: an archive answers files, without a server."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import track

from marsmith.answers.messages import Request, Response
from marsmith.answers.pictures import picture_kind
from marsmith.cli.answers import cells, keep, shown
from marsmith.cli.options import archive_of, json_option, timeout_option
from marsmith.cli.output import print_json, print_table
from marsmith.core.errors import MarsmithError
from marsmith.worker.runtime import Runtime

_TABLES = (".jsonl", ".csv")
_ENDINGS = {"application/json": "json", "text/csv": "csv", "text/html": "html"}


@dataclass(frozen=True)
class _Row:
    """What the archive says of an input; `value` is the answer, or where it was kept."""

    input: str
    status: int
    value: Any
    cells: tuple[str, str]

    def as_values(self) -> dict[str, Any]:
        return {"input": self.input, "status": self.status, "answer": self.value}


@click.command()
@click.argument("archive")
@click.argument(
    "inputs",
    metavar="INPUT...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
)
@click.option("--accept", default="*/*", metavar="TYPE", help="content type to ask for")
@click.option(
    "--out",
    metavar="PLACE",
    type=click.Path(path_type=Path),
    help="Keep the answers: FILE.jsonl, FILE.csv, or a folder with one file each.",
)
@timeout_option
@json_option
@click.pass_context
def run(
    context: click.Context,
    archive: str,
    inputs: tuple[Path, ...],
    accept: str,
    out: Path | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Let an archive answer each INPUT, as a worker would, without a server.

    ARCHIVE is a name in archives.toml, a .mar or .tar.gz, or an unpacked archive. An INPUT is a
    file, or a folder of files.
    """
    opened = archive_of(context, archive)
    files = list(_files(inputs))
    folder = out if out and out.suffix not in _TABLES else None
    targets = _targets([name for _, name in files])
    rows: list[_Row] = []
    with Runtime(opened, timeout=timeout) as runtime:
        size = runtime.batch_size
        console = Console(stderr=True)
        hidden = len(files) <= size or not console.is_terminal
        for start in track(
            range(0, len(files), size), opened.name, console=console, transient=True, disable=hidden
        ):
            part = files[start : start + size]
            bodies = [path.read_bytes() for path, _ in part]
            requests = [Request.of(body, headers={"Accept": accept}) for body in bodies]
            for (_, name), answer in zip(part, runtime.predict_batch(requests), strict=True):
                rows.append(_row(name, answer, folder and folder / targets[name]))
    if out and out.suffix in _TABLES:
        text = _json_lines(rows) if out.suffix == ".jsonl" else _csv(rows)
        click.echo(f"{len(rows)} answers: {keep(text.encode(), out)}")
    elif as_json:
        print_json([row.as_values() for row in rows])
    else:
        print_table(("input", "answer", "confidence"), [(row.input, *row.cells) for row in rows])
    sys.exit(0 if all(row.status < 300 for row in rows) else 1)


def _files(inputs: tuple[Path, ...]) -> Iterator[tuple[Path, str]]:
    """Yield each file and its name; those of a folder in order, without hidden ones."""
    for path in inputs:
        if not path.is_dir():
            yield path, str(path)
            continue
        below = [(file, file.relative_to(path)) for file in sorted(path.rglob("*"))]
        found = [
            (file, str(name))
            for file, name in below
            if file.is_file() and not any(part.startswith(".") for part in name.parts)
        ]
        if not found:
            raise MarsmithError(f"the folder {path} holds no files", "name one that does")
        yield from found


def _targets(names: list[str]) -> dict[str, Path]:
    """Return where below a folder each answer goes: without the input's ending if that is clear."""
    relative = {
        name: Path(*(p for p in Path(name).parts if p not in ("/", ".."))) for name in names
    }
    bare = Counter(path.with_suffix("") for path in relative.values())
    return {
        name: path.with_suffix("") if bare[path.with_suffix("")] == 1 else path
        for name, path in relative.items()
    }


def _row(name: str, answer: Response, target: Path | None) -> _Row:
    value = shown(answer, name, None)
    if target:
        ending = picture_kind(answer.body) or _ENDINGS.get(answer.content_type, "txt")
        place = keep(answer.body, target.with_name(f"{target.name}.{ending}"))
        value = place if picture_kind(answer.body) else value
    return _Row(name, answer.status, value, cells(answer, value))


def _json_lines(rows: list[_Row]) -> str:
    return "".join(json.dumps(row.as_values(), ensure_ascii=False) + "\n" for row in rows)


def _csv(rows: list[_Row]) -> str:
    """Return a table whose columns are the keys of the answers."""
    flat: list[dict[str, Any]] = []
    for row in rows:
        values = row.value if isinstance(row.value, dict) else {"answer": row.value}
        flat.append({"input": row.input, "status": row.status, **values})
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for one in flat for key in one)))
    writer.writeheader()
    for flat_row in flat:
        nested = {k: json.dumps(v) for k, v in flat_row.items() if isinstance(v, (dict, list))}
        writer.writerow(flat_row | nested)
    return text.getvalue()
