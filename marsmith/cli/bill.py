"""`marsmith bill`."""

from __future__ import annotations

from pathlib import Path

import click

from marsmith.archive.sbom import bill_of_materials
from marsmith.cli.answers import keep
from marsmith.cli.options import archive_argument, archive_of
from marsmith.cli.output import examples


@click.command(epilog=examples("marsmith bill digits --out digits.cdx.json"))
@archive_argument
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write to this file, not to stdout.",
)
@click.pass_context
def bill(context: click.Context, archive: str, out: Path | None) -> None:
    """Print a software bill of materials for an archive: CycloneDX 1.6, in JSON.

    ARCHIVE is a name in archives.toml, a .mar or .tar.gz, or an unpacked archive. The bill lists
    each file, and each requirement with its version and licence if they are known here.
    """
    text = bill_of_materials(archive_of(context, archive))
    if out is None:
        click.echo(text, nl=False)
        return
    click.echo(f"wrote      {keep(text.encode(), out)}")
