"""`marsmith logs`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import click

from marsmith.cli.completion import complete_names
from marsmith.cli.options import json_flag, project_of
from marsmith.cli.output import Part, echo, examples, plain
from marsmith.core.errors import ProjectError, ServerError
from marsmith.project.entries import source_names
from marsmith.project.project import Project
from marsmith.server.logs import ServerLogs, logs_folder
from marsmith.server.version_record import read_record
from marsmith.torchserve.log_entries import Entry, SourceName

_PAUSE = 0.2  # seconds between two reads
_COLOURS = {"ERROR": "red", "FATAL": "red", "WARN": "yellow"}


@click.command(epilog=examples("marsmith logs --tail 20", "marsmith logs digits --follow"))
@click.argument("name", required=False, shell_complete=complete_names)
@click.option("-f", "--follow", is_flag=True, help="Print new entries as they come, until Ctrl-C.")
@click.option(
    "--tail",
    metavar="N",
    type=click.IntRange(0),
    help="Start with the last N entries (default: all, up to 40 MB per log).",
)
@click.option(
    "--port", metavar="N", type=int, help="The server's inference port (default: the last one)."
)
@json_flag("Print one JSON object per line.")
@click.pass_context
def logs(
    context: click.Context,
    name: str | None,
    follow: bool,
    tail: int | None,
    port: int | None,
    as_json: bool,
) -> None:
    """Show the logs of a server and its workers in order of time; with NAME, of one model only.

    A traceback is one entry, with the project's own file names. Logs of a stopped server are kept.
    """
    project = project_of(context)
    source_name = _source_names(project)

    def show(entries: Iterable[Entry]) -> None:
        for entry in entries:
            if as_json:
                click.echo(json.dumps(entry.values(source_name)))
            else:
                echo(*_line(entry, source_name))

    folder = logs_folder(project, port)
    with ServerLogs(folder, name, _others(project, folder)) as server_logs:
        found = server_logs.read()
        if not follow:
            found = sorted([*found, *server_logs.rest()], key=lambda entry: entry.time)
        if not found and not follow and name and name not in _known(project):
            raise ServerError(
                f"the logs have no entries of a model {name!r}",
                "see all entries: marsmith logs",
                code="unknown-model",
            )
        show(found if tail is None else found[len(found) - min(tail, len(found)) :])
        with suppress(KeyboardInterrupt):
            while follow:
                time.sleep(_PAUSE)
                show(server_logs.read())


def _known(project: Project) -> list[str]:
    try:
        return list(project.archives)
    except ProjectError:
        return []


def _others(project: Project, folder: Path) -> list[str]:
    """Return the models that may have logs: those of archives.toml, and those that are served."""
    with suppress(ServerError):  # logs are shown even if the record is damaged
        return [*_known(project), *(one.name for one in read_record(project, int(folder.name)))]
    return _known(project)


def _source_names(project: Project) -> SourceName:
    """Return what maps entries to source files; a broken archives.toml maps none."""
    try:
        _ = project.archives
    except ProjectError:
        return lambda _archive, entry: entry
    return source_names(project)


def _line(entry: Entry, source_name: SourceName) -> tuple[Part, ...]:
    """Return an entry as `TIME WHO LEVEL MESSAGE`, further lines below."""
    record, stream = entry.record, entry.record.stream
    who = f"{stream.model}/{stream.worker}" if stream else "server"
    level = record.level or ""
    colour = _COLOURS.get(level, "red" if entry.phase != "plain" else "")
    head = (plain(f"{record.time or '-'} {who}"), "dim")
    text = plain(entry.text(source_name))
    return head, (f" {level}" if level else "", colour), f" {text}"
