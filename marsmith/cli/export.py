"""`marsmith export`."""

from __future__ import annotations

from pathlib import Path

import click

from marsmith.answers.agreement import Agreement
from marsmith.building.export import DTYPES, FORMATS, Limits
from marsmith.building.export import export as export_model
from marsmith.cli.options import Number, project_of
from marsmith.cli.output import file_size


@click.command()
@click.argument("name")
@click.option("--format", "kind", required=True, type=click.Choice(list(FORMATS)))
@click.option(
    "--dtype",
    default="float32",
    show_default=True,
    type=click.Choice(DTYPES),
    help="What the model computes in.",
)
@click.option(
    "--calibrate",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Photos: int8 is calibrated on some, and others tell how well the answers agree.",
)
@click.option(
    "--agreement",
    default=Limits.agreement,
    show_default=True,
    type=Number(0, 1),
    help="Of bfloat16 and int8: share of photos that must be answered as eager does.",
)
@click.option(
    "--tolerance",
    default=Limits.outputs,
    show_default=True,
    type=Number(min=0),
    help="Of float32: largest difference to eager, as a share of the largest output.",
)
@click.option(
    "--sample-tolerance",
    default=Limits.samples,
    metavar="T",
    type=Number(min=0),
    help="The samples' tolerance in the new archive, where their own is less.",
)
@click.option(
    "--keep",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Put the model's file here as well, for archives.toml to name.",
)
@click.pass_context
def export(
    context: click.Context,
    name: str,
    kind: str,
    dtype: str,
    calibrate: Path | None,
    agreement: float,
    tolerance: float,
    sample_tolerance: float,
    keep: Path | None,
) -> None:
    """Build NAME-FORMAT[-DTYPE], an archive of NAME's model for another engine.

    Its outputs and answers are held against eager; where they are too far off, there is none.
    """
    project = project_of(context)
    limits = Limits(tolerance, agreement, sample_tolerance)
    exported = export_model(
        project, name, kind, dtype=dtype, photos=calibrate, keep=keep, limits=limits
    )
    path = exported.path.relative_to(project.root)
    click.echo(f"built      {path}  {file_size(exported.size)}  sha256 {exported.sha256}")
    for file in exported.kept:
        click.echo(f"kept       {file}")
    click.echo("largest difference to eager, and as a share of the largest output:")
    for where, distance in exported.differences.items():
        figures = f"{distance['absolute']:8.2g}  {distance['relative']:8.2g}"
        click.echo(f"  {where:20}  {figures}{_left(distance)}")
    if exported.agreement:
        click.echo(_agreement(exported.agreement, "photos" if calibrate else "samples"))


def _left(distance: dict[str, float]) -> str:
    count = int(distance["left_out"])
    return f"  ({count} left out: eager's own rounding is as large)" if count else ""


def _agreement(found: Agreement, what: str) -> str:
    text = f"answers as eager does: {found.share:.1%} of {found.total} {what}"
    if found.largest is None or found.mean is None:
        return text
    return f"{text}; numbers differ by {found.mean:.2g} on average, {found.largest:.2g} at most"
