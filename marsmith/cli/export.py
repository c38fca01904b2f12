"""`marsmith export`."""

from __future__ import annotations

from pathlib import Path

import click

from marsmith.answers.agreement import Agreement
from marsmith.building.export import export as export_model
from marsmith.building.export_formats import DTYPES, FORMATS
from marsmith.building.export_limits import Limits
from marsmith.cli.options import Number, calibrate_option, name_argument, project_of
from marsmith.cli.output import examples, file_size, short_digest
from marsmith.cli.progress import working


@click.command(
    epilog=examples(
        "marsmith export digits --format onnx",
        "marsmith export digits --format openvino --dtype int8 --calibrate photos",
    )
)
@name_argument
@click.option(
    "--format", "kind", required=True, type=click.Choice(list(FORMATS)), help="The new format."
)
@click.option(
    "--dtype",
    default="float32",
    show_default=True,
    type=click.Choice(DTYPES),
    help="The data type that the model computes in.",
)
@calibrate_option
@click.option(
    "--agreement",
    default=Limits.agreement,
    show_default=True,
    type=Number(0, 1),
    help="For bfloat16 and int8: share of photos with the same answer as eager PyTorch.",
)
@click.option(
    "--tolerance",
    default=Limits.outputs,
    show_default=True,
    type=Number(min=0),
    help="For float32: largest difference from eager PyTorch, relative to the largest output.",
)
@click.option(
    "--sample-tolerance",
    default=Limits.samples,
    metavar="T",
    type=Number(min=0),
    help="Least tolerance of the samples in the new archive.",
)
@click.option(
    "--keep",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also put the model file here, for use in archives.toml.",
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

    Its outputs and answers are compared with eager PyTorch. If they differ too much, no archive is
    built.
    """
    project = project_of(context)
    limits = Limits(tolerance, agreement, sample_tolerance)
    with working(f"exporting {name} to {kind}, {dtype}"):
        exported = export_model(
            project, name, kind, dtype=dtype, photos=calibrate, keep=keep, limits=limits
        )
    path = exported.path.relative_to(project.root)
    click.echo(
        f"built      {path}  {file_size(exported.size)}  sha256 {short_digest(exported.sha256)}"
    )
    for file in exported.kept:
        click.echo(f"kept       {file}")
    click.echo("largest difference from eager PyTorch: absolute, relative to the largest output")
    for where, distance in exported.differences.items():
        figures = f"{distance['absolute']:8.2g}  {distance['relative']:8.2g}"
        click.echo(f"  {where:20}  {figures}{_left(distance)}")
    if exported.agreement:
        click.echo(_agreement(exported.agreement, "photos" if calibrate else "samples"))


def _left(distance: dict[str, float]) -> str:
    count = int(distance["left_out"])
    return f"  ({count} left out: eager PyTorch's own rounding is as large)" if count else ""


def _agreement(found: Agreement, what: str) -> str:
    text = f"same answers as eager PyTorch: {found.share:.1%} of {found.total} {what}"
    if found.largest is None or found.mean is None:
        return text
    return f"{text}; numbers differ by {found.mean:.2g} on average, {found.largest:.2g} at most"
