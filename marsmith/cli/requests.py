"""Options that describe a request: its content type, its headers, the fields of a form."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from marsmith.answers.forms import Field
from marsmith.answers.messages import HEADER_NAME, HEADER_VALUE
from marsmith.answers.requests import Input, file_field
from marsmith.cli.answers import files_of
from marsmith.core.errors import ClientError

_Command = TypeVar("_Command", bound=Callable[..., Any])
_TYPE = ";type="  # behind a file, as curl has it


class _FieldType(click.ParamType[Field]):
    """`NAME=VALUE`, `NAME=@FILE` or `NAME=@FILE;type=TYPE`, as curl's --form takes them."""

    name = "NAME=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Field:
        name, sign, content = str(value).partition("=")
        if not name or not sign:
            self.fail(f"{value!r} is not NAME=VALUE or NAME=@FILE", param, ctx)
        if not content.startswith("@"):
            return Field(name, content.encode(errors="surrogateescape"))
        file, _, typed = content[1:].partition(_TYPE)
        try:
            return file_field(name, Path(file), typed)
        except ClientError as error:
            self.fail(error.message, param, ctx)


class _Header(click.ParamType[tuple[str, str]]):
    """`NAME: VALUE`."""

    name = "NAME: VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        name, _, text = (part.strip() for part in str(value).partition(":"))
        if not re.match(HEADER_NAME, name) or not re.match(HEADER_VALUE, text):
            self.fail(f"{value!r} is not a header, NAME: VALUE", param, ctx)
        return name, text


class _ContentType(click.ParamType[str]):
    """A content type, such as image/png."""

    name = "TYPE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if text and ("/" not in text or not re.match(HEADER_VALUE, text)):
            self.fail(f"{value!r} is not a content type such as image/png", param, ctx)
        return text


def request_options(command: _Command) -> _Command:
    """Add the options that describe a request: content_type, headers, fields."""
    options = (
        click.option(
            "--content-type",
            metavar="TYPE",
            type=_ContentType(),
            default="",
            help="The content type of each INPUT (default: application/json for a .json file).",
        ),
        click.option(
            "--header",
            "headers",
            metavar="'NAME: VALUE'",
            type=_Header(),
            multiple=True,
            help="A header of the request. Can be repeated.",
        ),
        click.option(
            "--field",
            "fields",
            metavar="NAME=VALUE|NAME=@FILE",
            type=_FieldType(),
            multiple=True,
            help="Send a form with this field instead of INPUT; a file as NAME=@FILE[;type=TYPE]. "
            "Can be repeated.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def inputs_of(
    paths: tuple[Path, ...],
    content_type: str,
    headers: tuple[tuple[str, str], ...],
    fields: tuple[Field, ...],
) -> list[Input]:
    """Return the requests that a command was given: files, or one form. None if there is neither.

    Raises UsageError for both at once.
    """
    if fields and (paths or content_type):
        given = "INPUT" if paths else "--content-type"
        raise click.UsageError(f"--field makes the whole request: leave out {given}")
    if fields:
        return [Input("form", headers=dict(headers), fields=fields)]
    return [Input(name, path, content_type, dict(headers)) for path, name in files_of(paths)]


def require_input(inputs: list[Input]) -> None:
    """Raise UsageError if a command was given no request."""
    if not inputs:
        raise click.UsageError("Missing argument 'INPUT...', or a form: --field NAME=@FILE")
