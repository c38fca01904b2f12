"""`scripts/bench`: one command per measurement."""

from __future__ import annotations

import click

from bench.build import build
from bench.memory import memory


@click.group()
def cli() -> None:
    """Measure Marsmith beside what it replaces, in one run, in alternating rounds."""


cli.add_command(build)
cli.add_command(memory)

if __name__ == "__main__":
    cli()
