"""`marsmith build`."""

from __future__ import annotations

from dataclasses import asdict

import click

from marsmith.building import build as build_archives
from marsmith.cli.options import json_option, names_argument, project_of
from marsmith.cli.output import file_size, print_findings, print_json


@click.command()
@names_argument
@click.option("--force", is_flag=True, help="Build also what is unchanged.")
@json_option
@click.pass_context
def build(context: click.Context, names: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Make model_store/NAME.mar of what archives.toml says, for each NAME or all."""
    project = project_of(context)
    built = build_archives(project, names, force=force)
    for archive in built:
        print_findings(archive.warnings)
    if as_json:
        keys = ("name", "size", "sha256", "fresh")
        print_json([{k: asdict(b)[k] for k in keys} | {"path": str(b.path)} for b in built])
        return
    for archive in built:
        verb = "built" if archive.fresh else "unchanged"
        path = archive.path.relative_to(project.root)
        click.echo(f"{verb:9}  {path}  {file_size(archive.size)}  sha256 {archive.sha256}")
