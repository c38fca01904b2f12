"""Options and arguments that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from marsmith.archive.reader import Archive
from marsmith.building.building import stale_warning
from marsmith.cli.output import print_findings
from marsmith.core.errors import ProjectError
from marsmith.project.project import Project
from marsmith.worker.runtime import DEFAULT_TIMEOUT


class Number(click.FloatRange):
    """A number in a range; infinity and `nan`, which Python reads as well, are none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


names_argument = click.argument("names", metavar="[NAME]...", nargs=-1)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
port_option = click.option(
    "--port",
    metavar="N",
    type=click.IntRange(1, 65535),
    help="The server's inference port (default: the one that runs).",
)

timeout_option = click.option(
    "--timeout",
    metavar="SECONDS",
    type=Number(min=0.1),
    default=DEFAULT_TIMEOUT,
    show_default=True,
    help="How long a model may take to load, and a batch to be answered.",
)


def project_of(context: click.Context) -> Project:
    """Return the project that --project names, or the one around the working directory."""
    folder: str | None = context.find_root().obj
    return Project.find(Path(folder) if folder else None)


def archive_of(context: click.Context, text: str) -> Archive:
    """Return the archive that a user named: by its name in archives.toml, or by its path."""
    path = Path(text)
    if path.exists() and (path.suffix or path.parent != Path() or not _is_described(context, text)):
        return Archive(path)
    project = project_of(context)
    built = project.model_store / f"{text}.mar"
    if text not in project.archives and built.exists():
        return Archive(built)  # such as one that was exported
    project.specs((text,))
    print_findings(filter(None, [stale_warning(project, text)]))
    return Archive(built)


def _is_described(context: click.Context, name: str) -> bool:
    try:
        return name in project_of(context).archives
    except ProjectError:
        return False
