"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

from marsmith.project import Project

names_argument = click.argument("names", metavar="[NAME]...", nargs=-1)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
port_option = click.option(
    "--port",
    metavar="N",
    type=click.IntRange(1, 65535),
    help="The server's inference port (default: the one that runs).",
)


def project_of(context: click.Context) -> Project:
    """Return the project that --project names, or the one around the working directory."""
    folder: str | None = context.find_root().obj
    return Project.find(Path(folder) if folder else None)
