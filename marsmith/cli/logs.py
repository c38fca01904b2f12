"""`marsmith logs`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import click

from marsmith.cli.options import project_of
from marsmith.cli.output import plain
from marsmith.core.errors import ProjectError, ServerError
from marsmith.project.entries import source_names
from marsmith.project.project import Project
from marsmith.server.logs import ServerLogs, logs_folder
from marsmith.server.version_record import read_record
from marsmith.torchserve.log_entries import Entry, SourceName

_PAUSE = 0.2  # seconds between two looks
_COLOURS = {"ERROR": "red", "FATAL": "red", "WARN": "yellow"}


@click.command()
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written, until Ctrl-C.")
@click.option(
    "--tail",
    metavar="N",
    type=click.IntRange(0),
    help="Begin with the last N entries (default: all, up to 40 MB a log).",
)
@click.option(
    "--port", metavar="N", type=int, help="The server's inference port (default: the last one)."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@click.pass_context
def logs(
    context: click.Context,
    name: str | None,
    follow: bool,
    tail: int | None,
    port: int | None,
    as_json: bool,
) -> None:
    """Show what the server and its workers wrote, in the order of time; NAME: one model's alone.

    A traceback is one entry, with the project's own file names. Also of a server that stopped.
    """
    project = project_of(context)
    source_name = _source_names(project)

    def show(entries: Iterable[Entry]) -> None:
        for entry in entries:
            if as_json:
                click.echo(json.dumps(entry.values(source_name)))
            else:
                click.echo(_line(entry, source_name))

    folder = logs_folder(project, port)
    with ServerLogs(folder, name, _others(project, folder)) as server_logs:
        found = server_logs.read()
        if not follow:
            found = sorted([*found, *server_logs.rest()], key=lambda entry: entry.time)
        if not found and not follow and name and name not in _known(project):
            raise ServerError(
                f"the logs say nothing of a model {name!r}", "see them all: marsmith logs"
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
    """Return which models there are beside one: those that are built, and that are served."""
    with suppress(ServerError):  # a damaged record is no reason to show no logs
        return [*_known(project), *(one.name for one in read_record(project, int(folder.name)))]
    return _known(project)


def _source_names(project: Project) -> SourceName:
    """Return what knows the project's file names; a broken archives.toml is no reason to fail."""
    try:
        _ = project.archives
    except ProjectError:
        return lambda _archive, entry: entry
    return source_names(project)


def _line(entry: Entry, source_name: SourceName) -> str:
    """Return an entry as `TIME WHO LEVEL MESSAGE`, further lines below."""
    record, stream = entry.record, entry.record.stream
    who = f"{stream.model}/{stream.worker}" if stream else "server"
    level = record.level or ""
    colour = _COLOURS.get(level, "red" if entry.phase != "plain" else None)
    head = click.style(f"{record.time or '-'} {who}", dim=True)
    level = f" {level}" if level else ""
    return f"{head}{click.style(level, fg=colour)} {plain(entry.text(source_name))}"
