"""`marsmith check`: prove archives before anyone serves them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from marsmith.answers.forms import Field
from marsmith.check import checking
from marsmith.check.targets import Target, targets
from marsmith.cli.completion import complete_archives
from marsmith.cli.options import (
    accept_code_option,
    json_option,
    project_of,
    sandbox_of,
    sandbox_options,
    timeout_option,
)
from marsmith.cli.output import (
    duration,
    echo,
    examples,
    finding_values,
    plain,
    print_findings,
    print_json,
)
from marsmith.cli.progress import working
from marsmith.cli.requests import inputs_of, request_options
from marsmith.project.project import Project


@click.command(
    epilog=examples("marsmith check", "marsmith check digits --fix", "marsmith check ./theirs.mar")
)
@click.argument(
    "archives", metavar="[NAME|FILE|FOLDER]...", nargs=-1, shell_complete=complete_archives
)
@click.option("--strict", is_flag=True, help="Treat warnings as errors.")
@click.option("--fix", is_flag=True, help="Rebuild archives that are older than their sources.")
@click.option(
    "--input",
    "inputs",
    metavar="INPUT",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    help="Ask this file instead of made-up requests. Can be repeated.",
)
@request_options
@accept_code_option
@timeout_option
@sandbox_options
@json_option
@click.pass_context
def check(
    context: click.Context,
    archives: tuple[str, ...],
    strict: bool,
    fix: bool,
    inputs: tuple[Path, ...],
    content_type: str,
    headers: tuple[tuple[str, str], ...],
    fields: tuple[Field, ...],
    accept_code: tuple[str, ...],
    timeout: float,
    sandbox: str | None,
    as_json: bool,
) -> None:
    """Check archives: files, code, weights, settings, and the answers to their samples.

    Without arguments: all archives in archives.toml. Archives from others can be checked too, as a
    .mar, a .tar.gz, or a folder of them. Exit status 1 if there are errors.
    """
    given = inputs_of(inputs, content_type, headers, fields)
    found = targets(archives, lambda: project_of(context))
    results, isolation = [], sandbox_of(sandbox)
    for target in found:
        with working(f"checking {target.name}"):
            result = checking.check(
                target,
                timeout=timeout,
                fix=fix,
                accept=accept_code,
                sandbox=isolation,
                given=given,
            )
        results.append(result)
        if not as_json:
            _print(result)
    for project in _projects(found):
        result = checking.check_project(project)
        results.append(result)
        if result.findings and not as_json:
            _print(result)
    if as_json:
        print_json([_json(result) for result in results])
    wrong = sum(len(one.findings) if strict else one.errors for one in results)
    sys.exit(1 if wrong else 0)


def _projects(found: list[Target]) -> list[Project]:
    return list(dict.fromkeys(target.project for target in found if target.project))


def _print(result: checking.Checked) -> None:
    print_findings(result.findings)
    warnings = len(result.findings) - result.errors
    counts = [(result.errors, "error"), (warnings, "warning")]
    told = [f"{count} {word}{'s' if count > 1 else ''}" for count, word in counts if count]
    figures = [
        f"{verb} in {duration(result.figures[key])}"
        for key, verb in (("load", "loads"), ("answer", "answers"))
        if key in result.figures
    ]
    if "load" in result.figures and "answer" not in result.figures:
        figures.append("it has no sample, so its answers were not checked")
    colour = "red" if result.errors else "yellow" if warnings else "green"
    state = (", ".join(told) or "sound", f"bold {colour}")
    echo(f"{plain(result.name)}: ", state, "; " if figures else "", ", ".join(figures))


def _json(result: checking.Checked) -> dict[str, Any]:
    return {
        "name": result.name,
        "findings": [finding_values(finding) for finding in result.findings],
        "without_sandbox": result.without_sandbox or None,
        "seconds": {key: round(value, 3) for key, value in result.figures.items()},
    }
