"""`marsmith sample`: record the answers of an archive as the expected ones."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from marsmith.answers.forms import Field
from marsmith.answers.messages import Request, Response
from marsmith.answers.pictures import picture_kind, picture_sheet
from marsmith.answers.requests import Input
from marsmith.answers.samples import KINDS
from marsmith.building import record_samples
from marsmith.cli.answers import cells, described, keep
from marsmith.cli.options import (
    Number,
    name_argument,
    project_of,
    sandbox_of,
    sandbox_options,
)
from marsmith.cli.output import examples
from marsmith.cli.progress import working
from marsmith.cli.requests import inputs_of, request_options
from marsmith.cli.tables import print_table
from marsmith.core.errors import ProjectError
from marsmith.inspect.describe_body import body_of
from marsmith.project.project import Project
from marsmith.project.spec import SampleSpec
from marsmith.torchserve.front_end import parameters_of
from marsmith.worker.runtime import DEFAULT_TIMEOUT


@click.command(
    epilog=examples("marsmith sample digits photos/seven.jpg", "marsmith sample digits --yes")
)
@name_argument
@click.argument(
    "inputs",
    metavar="[INPUT]...",
    nargs=-1,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@request_options
@click.option(
    "--tolerance",
    type=Number(min=0),
    help="Largest difference of numbers, or mean difference of a picture's values (default: as in "
    f"archives.toml, else {SampleSpec.tolerance:g}, or 0.01 for a picture).",
)
@click.option(
    "--largest",
    type=Number(min=0),
    help="Largest difference of a single value 0…1 of a picture (default: as in archives.toml, "
    f"else {SampleSpec.largest:g}).",
)
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    help="How a picture is compared: its shades, or pixel by pixel as data (default: as in "
    "archives.toml, else data for a palette, 1 or 16 bits, or few values).",
)
@sandbox_options
@click.option("--yes", is_flag=True, help="Record without asking.")
@click.pass_context
def sample(
    context: click.Context,
    name: str,
    inputs: tuple[Path, ...],
    content_type: str,
    headers: tuple[tuple[str, str], ...],
    fields: tuple[Field, ...],
    tolerance: float | None,
    largest: float | None,
    kind: str | None,
    sandbox: str | None,
    yes: bool,
) -> None:
    """Record the current answer of the archive NAME to each INPUT as the expected one.

    Without INPUT, its existing samples are recorded again. The old and the new answers are shown
    side by side. If you confirm, the new ones are written to samples/, named in archives.toml, and
    packed into the archive. With --field, a form is the request; a .json file is sent as JSON.
    """
    project = project_of(context)
    asked = inputs_of(inputs, content_type, headers, fields)
    if (content_type or headers) and not asked:
        raise click.UsageError("--content-type and --header describe an INPUT: name one")
    with working(f"recording samples of {name}"):
        recorded = record_samples.record(
            project,
            name,
            asked or _existing(project, name),
            tolerance=tolerance,
            largest=largest,
            kind=kind,
            timeout=DEFAULT_TIMEOUT,
            sandbox=sandbox_of(sandbox),
        )
    _show(project, name, recorded)
    if not yes:
        if not sys.stdin.isatty():
            raise ProjectError(
                "this is not a terminal, so the question cannot be asked",
                "record without asking: --yes",
                code="not-confirmed",
            )
        if not click.confirm("Are these answers right?"):
            click.echo("nothing was recorded", err=True)
            sys.exit(1)
    with working(f"packing {name}"):
        record_samples.keep(project, name, recorded)
    click.echo(f"recorded {len(recorded)} sample{'s' if len(recorded) > 1 else ''} of {name}")


def _existing(project: Project, name: str) -> list[Input]:
    """Return the requests of the samples that an archive has."""
    (spec,) = project.specs((name,))
    if not spec.samples:
        raise ProjectError(
            f"{name} has no samples yet",
            f"name a request that it answers: marsmith sample {name} FILE",
            code="no-samples",
        )
    return [Input(one.request, project.root / one.request) for one in spec.samples]


def _show(project: Project, name: str, recorded: list[record_samples.Recorded]) -> None:
    rows, pictures = [], []
    for one in recorded:
        change = "new" if one.before is None else one.change or "as before"
        before = Response(200, "", {}, one.before) if one.before is not None else None
        request = one.sample.request
        rows.append((request, _short(before) if before else "-", _short(one.answer), change))
        if picture_kind(one.answer.body):
            pictures.append([_picture(one.request), one.answer.body, one.before])
    columns = ("request", "so far", "now", "change")
    print_table(columns, rows, fold=("so far", "now", "change"))
    if pictures:
        sheet = project.state_folder("samples") / f"{name}.png"
        titles = ("request", "answer", "expected so far")
        click.echo(f"look at them: {keep(picture_sheet(titles, pictures), sheet)}")


def _picture(request: Request) -> bytes:
    """Return the first picture of a request, or its body."""
    bodies = (one.value for one in parameters_of(request))
    return next((body for body in bodies if picture_kind(body)), request.body)


def _short(answer: Response) -> str:
    """Return an answer as `LABEL (CONFIDENCE)`, as text, or as the kind of a picture."""
    if body_of(answer.body).kind in ("picture", "bytes"):
        return described(answer)
    label, confidence = cells(answer, answer.values)
    return f"{label} ({confidence})" if confidence else label
