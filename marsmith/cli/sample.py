"""`marsmith sample`: record what an archive answers as what it must answer."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from marsmith.answers.pictures import picture_kind, picture_sheet
from marsmith.building import record_samples
from marsmith.cli.answers import cells, keep
from marsmith.cli.options import Number, project_of
from marsmith.cli.output import print_table
from marsmith.core.errors import ProjectError
from marsmith.project.project import Project
from marsmith.project.spec import SampleSpec
from marsmith.worker.runtime import DEFAULT_TIMEOUT


@click.command()
@click.argument("name")
@click.argument(
    "inputs",
    metavar="INPUT...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--tolerance",
    type=Number(min=0),
    help="How far numbers may differ, and a picture's values on average (default: as the spec "
    f"has it, else {SampleSpec.tolerance:g}, or 0.01 where the answer is a picture).",
)
@click.option(
    "--largest",
    type=Number(min=0),
    help="How far any one value 0…1 of a picture may differ (default: as the spec has it, else "
    f"{SampleSpec.largest:g}).",
)
@click.option("--yes", is_flag=True, help="Record without asking.")
@click.pass_context
def sample(
    context: click.Context,
    name: str,
    inputs: tuple[Path, ...],
    tolerance: float | None,
    largest: float | None,
    yes: bool,
) -> None:
    """Record what the archive NAME answers to each INPUT now as its expected answer.

    The answers are shown first; then they are written to samples/, named in archives.toml, and
    packed into the archive.
    """
    project = project_of(context)
    recorded = record_samples.record(
        project, name, inputs, tolerance=tolerance, largest=largest, timeout=DEFAULT_TIMEOUT
    )
    _show(project, name, recorded)
    if not yes:
        if not sys.stdin.isatty():
            raise ProjectError("nobody is there to say yes", "record without asking: --yes")
        if not click.confirm("Are these answers right?"):
            click.echo("nothing was recorded", err=True)
            sys.exit(1)
    record_samples.keep(project, name, recorded)
    click.echo(f"recorded {len(recorded)} sample{'s' if len(recorded) > 1 else ''} of {name}")


def _show(project: Project, name: str, recorded: list[record_samples.Recorded]) -> None:
    rows, pictures = [], []
    for one in recorded:
        kind = picture_kind(one.answer.body)
        shown = one.sample.response if kind else one.answer.values
        so_far = "new" if one.before is None else one.change or "as before"
        rows.append((one.sample.request, *cells(one.answer, shown), so_far))
        if kind:
            pictures.append([one.source.read_bytes(), one.answer.body, one.before])
    print_table(("request", "answer", "confidence", "so far"), rows)
    if pictures:
        sheet = project.state_folder("samples") / f"{name}.png"
        titles = ("request", "answer", "expected so far")
        click.echo(f"look at them: {keep(picture_sheet(titles, pictures), sheet)}")
