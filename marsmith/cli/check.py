"""`marsmith check`: prove archives before anyone serves them."""

from __future__ import annotations

import sys
from typing import Any

import click

from marsmith.check import checking
from marsmith.check.targets import Target, targets
from marsmith.cli.options import json_option, project_of, timeout_option
from marsmith.cli.output import print_findings, print_json
from marsmith.core.findings import Finding
from marsmith.project.project import Project


@click.command()
@click.argument("archives", metavar="[NAME|FILE|FOLDER]...", nargs=-1)
@click.option("--strict", is_flag=True, help="Let warnings count as errors.")
@click.option("--fix", is_flag=True, help="Build anew what is older than its sources.")
@timeout_option
@json_option
@click.pass_context
def check(
    context: click.Context,
    archives: tuple[str, ...],
    strict: bool,
    fix: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Prove archives: layout, code, weights, configuration, and how they behave.

    Without arguments: all that archives.toml describes. Made by anyone, with sources or without.
    Exit status 1 if there are errors.
    """
    found = targets(archives, lambda: project_of(context))
    results = []
    for target in found:
        result = checking.check(target, timeout=timeout, fix=fix)
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
        f"{verb} in {_duration(result.figures[key])}"
        for key, verb in (("load", "loads"), ("answer", "answers"))
        if key in result.figures
    ]
    if "load" in result.figures and "answer" not in result.figures:
        figures.append("no sample proves its answers")
    colour = "red" if result.errors else "yellow" if warnings else "green"
    state = click.style(", ".join(told) or "sound", fg=colour, bold=True)
    click.echo(f"{result.name}: {state}{'; ' if figures else ''}{', '.join(figures)}")


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _json(result: checking.Checked) -> dict[str, Any]:
    return {
        "name": result.name,
        "findings": [_finding(finding) for finding in result.findings],
        "seconds": {key: round(value, 3) for key, value in result.figures.items()},
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "message": finding.message,
        "hint": finding.hint,
        "file": finding.file,
        "line": finding.line,
    }
