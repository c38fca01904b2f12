"""`marsmith export`."""

from __future__ import annotations

import click

from marsmith.cli.options import project_of
from marsmith.cli.output import file_size
from marsmith.exporting import FORMATS
from marsmith.exporting import export as export_model


@click.command()
@click.argument("name")
@click.option("--format", "kind", required=True, type=click.Choice(list(FORMATS)))
@click.option(
    "--tolerance",
    default=1e-4,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Largest difference to eager, as a share of the largest output.",
)
@click.pass_context
def export(context: click.Context, name: str, kind: str, tolerance: float) -> None:
    """Build NAME-FORMAT, an archive of NAME's model in another format, held against eager."""
    project = project_of(context)
    exported = export_model(project, name, kind, tolerance=tolerance)
    path = exported.path.relative_to(project.root)
    click.echo(f"built      {path}  {file_size(exported.size)}  sha256 {exported.sha256}")
    click.echo("largest difference to eager, and as a share of the largest output:")
    for where, distance in exported.differences.items():
        click.echo(f"  {where:20}  {distance['absolute']:8.2g}  {distance['relative']:8.2g}")
