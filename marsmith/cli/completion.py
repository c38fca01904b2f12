"""`marsmith completion`, and what completes names of archives."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from marsmith.cli.output import examples
from marsmith.project.project import Project

_PROGRAM = "marsmith"
_VARIABLE = "_MARSMITH_COMPLETE"  # where click's scripts ask for completions


@click.command(
    epilog=examples(
        'eval "$(marsmith completion bash)"    # in ~/.bashrc',
        'eval "$(marsmith completion zsh)"     # in ~/.zshrc',
        "marsmith completion fish > ~/.config/fish/completions/marsmith.fish",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands, options and archive names in SHELL."""
    kind = get_completion_class(shell)
    if kind is not None:
        click.echo(kind(context.find_root().command, {}, _PROGRAM, _VARIABLE).source())


def complete_names(
    context: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the archives of archives.toml and of the model store that begin so."""
    return [CompletionItem(name) for name in _names(context) if name.startswith(incomplete)]


def complete_archives(
    context: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the archives that begin so; where there are none, have the shell complete files."""
    return complete_names(context, param, incomplete) or [CompletionItem(incomplete, type="file")]


def _names(context: click.Context) -> list[str]:
    """Return what archives there are; while a user types, no problem is reported."""
    folder = context.find_root().params.get("project")
    names: set[str] = set()
    with suppress(Exception):
        project = Project.find(Path(folder) if folder else None)
        names |= {path.stem for path in project.model_store.glob("*.mar")}
        names |= set(project.spec_file.archives)
    return sorted(names)
