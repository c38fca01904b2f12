"""`marsmith build`."""

from __future__ import annotations

from dataclasses import asdict

import click

from marsmith.building.building import build as build_archives
from marsmith.building.building import build_and_lock, build_locked
from marsmith.cli.options import json_option, names_argument, project_of
from marsmith.cli.output import examples, file_size, print_findings, print_json, short_digest
from marsmith.cli.progress import working
from marsmith.cli.tables import print_table
from marsmith.project.entries import listing
from marsmith.project.hidden_modules import hidden_by
from marsmith.project.lockfile import LOCK_FILE
from marsmith.project.project import Project


@click.command(epilog=examples("marsmith build", "marsmith build digits --list"))
@names_argument
@click.option("--force", is_flag=True, help="Build unchanged archives too.")
@click.option("--lock", is_flag=True, help="Write the sha256 of each archive to archives.lock.")
@click.option("--locked", is_flag=True, help="Fail if an archive would differ from archives.lock.")
@click.option(
    "--list", "as_list", is_flag=True, help="Build nothing; list the files, and why each goes in."
)
@json_option
@click.pass_context
def build(
    context: click.Context,
    names: tuple[str, ...],
    force: bool,
    lock: bool,
    locked: bool,
    as_list: bool,
    as_json: bool,
) -> None:
    """Build model_store/NAME.mar as archives.toml describes it, for each NAME or for all."""
    if lock and (locked or names):
        raise click.UsageError("--lock is for all archives; it allows neither NAME nor --locked")
    project = project_of(context)
    if as_list:
        _print_files(project, names, as_json=as_json)
        return
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
        click.echo(
            f"{verb:9}  {path}  {file_size(archive.size)}  sha256 {short_digest(archive.sha256)}"
        )
    if lock:
        click.echo(f"locked     {LOCK_FILE}")


def _print_files(project: Project, names: tuple[str, ...], *, as_json: bool) -> None:
    found = {spec.name: listing(project, spec) for spec in project.specs(names)}
    if as_json:
        print_json({name: [asdict(one) for one in files] for name, files in found.items()})
        return
    for name, files in found.items():
        hidden = (hidden_by(one.name, one.source or one.name) for one in files)
        print_findings(filter(None, hidden))
        click.echo(f"{name}.mar")
        rows = [(one.name, one.source or "-", one.reason) for one in files]
        columns = ("file", "source", "reason")
        print_table(columns, rows, fold=columns)  # no name may be lost
