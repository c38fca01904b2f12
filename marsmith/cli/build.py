"""`marsmith build`."""

from __future__ import annotations

from dataclasses import asdict

import click

from marsmith.building.building import build as build_archives
from marsmith.building.locked_building import build_and_lock, build_locked
from marsmith.cli.options import json_option, names_argument, project_of
from marsmith.cli.output import examples, file_size, print_findings, print_json
from marsmith.cli.progress import working
from marsmith.project.lockfile import LOCK_FILE


@click.command(epilog=examples("marsmith build", "marsmith build digits --force"))
@names_argument
@click.option("--force", is_flag=True, help="Build also archives whose inputs are unchanged.")
@click.option("--lock", is_flag=True, help="Write the sha256 of each archive to archives.lock.")
@click.option("--locked", is_flag=True, help="Fail if an archive would differ from archives.lock.")
@json_option
@click.pass_context
def build(
    context: click.Context,
    names: tuple[str, ...],
    force: bool,
    lock: bool,
    locked: bool,
    as_json: bool,
) -> None:
    """Build model_store/NAME.mar as archives.toml describes it, for each NAME or for all."""
    if lock and (locked or names):
        raise click.UsageError("--lock is for all archives; it allows neither NAME nor --locked")
    project = project_of(context)
    with working(f"building {', '.join(names) or 'all archives'}"):
        if lock:
            built = build_and_lock(project, force=force)
        else:
            built = (build_locked if locked else build_archives)(project, names, force=force)
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
    if lock:
        click.echo(f"locked     {LOCK_FILE}")
