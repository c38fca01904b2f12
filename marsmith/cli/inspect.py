"""`marsmith inspect` and `marsmith diff`: what archives hold, and how two of them differ."""

from __future__ import annotations

import sys

import click

from marsmith.cli.compared import print_comparison
from marsmith.cli.completion import complete_archives
from marsmith.cli.inspect_values import comparison_as_values, inspection_as_values
from marsmith.cli.inspected import print_inspection
from marsmith.cli.options import (
    archive_argument,
    archive_of,
    json_option,
    sandbox_of,
    sandbox_options,
    timeout_option,
)
from marsmith.cli.output import examples, print_json
from marsmith.cli.progress import working
from marsmith.inspect.diff import compare
from marsmith.inspect.summary import inspect as inspect_archive


@click.command(epilog=examples("marsmith inspect digits", "marsmith inspect theirs.mar --json"))
@archive_argument
@json_option
@click.pass_context
def inspect(context: click.Context, archive: str, as_json: bool) -> None:
    """Show what an archive holds; nothing in it is executed or unpickled.

    ARCHIVE is a name in archives.toml, a .mar or .tar.gz, or an unpacked archive.
    """
    with working(f"reading {archive}"):
        inspection = inspect_archive(archive_of(context, archive))
    if as_json:
        print_json(inspection_as_values(inspection))
    else:
        print_inspection(inspection)


@click.command(epilog=examples("marsmith diff digits digits-onnx", "marsmith diff old.mar digits"))
@click.argument("first", metavar="A", shell_complete=complete_archives)
@click.argument("second", metavar="B", shell_complete=complete_archives)
@click.option("--no-run", is_flag=True, help="Load no model and compare no answers.")
@timeout_option
@sandbox_options
@json_option
@click.pass_context
def diff(
    context: click.Context,
    first: str,
    second: str,
    no_run: bool,
    timeout: float,
    sandbox: str | None,
    as_json: bool,
) -> None:
    """Show the differences between archive A and archive B.

    Files, settings and tensors are compared, and the answers of both archives to the samples of
    both. A and B are names in archives.toml, .mar or .tar.gz files, or unpacked archives. Exit
    status 0 if nothing differs, 1 if something does.
    """
    archives = archive_of(context, first), archive_of(context, second)
    with working(f"comparing {first} and {second}"):
        comparison = compare(
            *archives, run=not no_run, timeout=timeout, sandbox=sandbox_of(sandbox)
        )
    if as_json:
        print_json(comparison_as_values(comparison))
    else:
        print_comparison(comparison, asked=not no_run)
    sys.exit(0 if comparison.is_same else 1)
