"""The `marsmith` commands in a text, read by the command line's own parser."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click

from marsmith.cli import cli
from marsmith.cli.gateway import DefaultCommand


def commands(script: str) -> Iterator[list[str]]:
    """Yield the words after `marsmith` for each such command in a shell script."""
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("();<>|&"):
                yield from _of_the_kit(words)
                words = []
            else:
                words.append(word)


def _of_the_kit(words: list[str]) -> Iterator[list[str]]:
    while words and "=" in words[0]:  # a variable for the command
        words = words[1:]
    if words and words[0] == "marsmith":
        yield words[1:]


def resolve(words: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    """Return the command that the words call, its context, and the words left for it.

    Raises click.UsageError if there is none.
    """
    command: click.Command = cli
    context = click.Context(command, info_name="marsmith", **cli.context_settings)
    while isinstance(command, click.Group):
        if isinstance(command, DefaultCommand):
            words = command.completed(words)
        _, words, _ = command.make_parser(context).parse_args(words)
        if not words:
            break
        _, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, parent=context, info_name=found.name)
    return command, context, words


def parse(words: list[str]) -> None:
    """Raise click.UsageError if the command line would refuse these words.

    Files need not exist.
    """
    command, context, rest = resolve(words)
    if isinstance(command, click.Group):
        return
    values, extra, _ = command.make_parser(context).parse_args(rest)
    if extra:
        raise click.UsageError(f"unexpected: {extra}", context)
    for parameter in command.get_params(context):
        value = values.get(parameter.name or "")
        if not isinstance(value, (str, tuple, list)) or not value:
            if parameter.required:
                raise click.MissingParameter(ctx=context, param=parameter)
        elif not isinstance(parameter.type, click.Path):
            parameter.type_cast_value(context, value)


def options(command: click.Command) -> set[str]:
    """Return the long options of a command, without --help."""
    names = {
        name
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    return {name for name in names if name.startswith("--")} - {"--help"}
