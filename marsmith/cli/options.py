"""Options and arguments that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from marsmith.archive.reader import Archive
from marsmith.building.building import stale_warning
from marsmith.check.targets import refuse_request
from marsmith.cli.completion import complete_archives, complete_names
from marsmith.cli.output import note_json, print_findings, print_warning
from marsmith.core.errors import ProjectError
from marsmith.project.entries import source_names
from marsmith.project.project import Project
from marsmith.worker.runtime import DEFAULT_TIMEOUT
from marsmith.worker.sandbox import Sandbox, advice

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Number(click.FloatRange):
    """A number in a range; infinity and `nan`, which Python reads as well, are none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


def _no_request(_: click.Context, __: click.Parameter, value: str) -> str:
    """Refuse a file of JSON where a name belongs: `--json` takes no file."""
    refuse_request(value)
    return value


def json_flag(text: str = "Print JSON, errors too.") -> Callable[[_Command], _Command]:
    """Return the option --json; with it a command that fails prints its error as JSON."""
    return click.option("--json", "as_json", is_flag=True, callback=note_json, help=text)


json_option = json_flag()
names_argument = click.argument(
    "names", metavar="[NAME]...", nargs=-1, shell_complete=complete_names
)
name_argument = click.argument("name", shell_complete=complete_names, callback=_no_request)
archive_argument = click.argument("archive", shell_complete=complete_archives, callback=_no_request)
port_option = click.option(
    "--port",
    metavar="N",
    type=click.IntRange(1, 65535),
    help="The server's inference port (default: the one that runs).",
)

accept_code_option = click.option(
    "--accept-code",
    metavar="DIGEST",
    multiple=True,
    help="Run the code in the file with this digest, as `marsmith check` names it: sha256:…",
)
_no_sandbox = click.option(
    "--no-sandbox", "sandbox", flag_value="none", help="Run the archive's code without a sandbox."
)
_require_sandbox = click.option(
    "--require-sandbox",
    "sandbox",
    flag_value="required",
    help="Run nothing where the system allows no sandbox.",
)
calibrate_option = click.option(
    "--calibrate",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Photos for int8: some calibrate it, the others measure how well its answers agree.",
)
timeout_option = click.option(
    "--timeout",
    metavar="SECONDS",
    type=Number(min=0.1),
    default=DEFAULT_TIMEOUT,
    show_default=True,
    help="Time limit for loading a model, and for each batch.",
)


def sandbox_options(command: _Command) -> _Command:
    """Add the options for the sandbox, whose value `sandbox_of` takes."""
    return _require_sandbox(_no_sandbox(command))


def sandbox_of(option: str | None) -> Sandbox | None:
    """Return the sandbox that a command asks for; that there is none is said once."""
    if option == "none":
        return None
    told: list[str] = []

    def say(missing: str) -> None:
        if not told:
            print_warning(f"the archive's code runs without a sandbox: {missing}", advice(missing))
        told.append(missing)

    return Sandbox(required=option == "required", missing=say)


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


def source_name_of(context: click.Context, archive: Archive) -> Callable[[str], str]:
    """Return what maps an entry of an archive to the project's file; outside of one, to itself."""
    try:
        project = project_of(context)
        _ = project.archives
    except ProjectError:
        return str
    find = source_names(project)
    return lambda entry: find(archive.name, entry)


def _is_described(context: click.Context, name: str) -> bool:
    try:
        return name in project_of(context).archives
    except ProjectError:
        return False
