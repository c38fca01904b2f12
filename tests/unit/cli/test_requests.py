"""How the options of a command become requests."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from marsmith.answers.forms import Field
from marsmith.cli.requests import inputs_of, request_options, require_input


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@request_options
def shown(
    paths: tuple[Path, ...],
    content_type: str,
    headers: tuple[tuple[str, str], ...],
    fields: tuple[Field, ...],
) -> None:
    """Print the requests."""
    found = inputs_of(paths, content_type, headers, fields)
    require_input(found)
    click.echo(
        json.dumps(
            [
                {
                    "name": one.name,
                    "type": one.content_type,
                    "headers": dict(one.headers),
                    "fields": [
                        [field.name, field.value.decode(), field.filename, field.content_type]
                        for field in one.fields
                    ],
                }
                for one in found
            ]
        )
    )


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(shown, [str(one) for one in arguments])


def test_fields_are_texts_and_files_with_a_type(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    file = tmp_path / "a.png"
    result = run(
        *("--field", "size=2=3", "--field", f"a=@{file}", "--field", f"b=@{file};type=x/y"),
        *("--header", "Accept: image/png"),
    )
    (found,) = json.loads(result.output)
    assert found["headers"] == {"Accept": "image/png"}
    assert found["fields"] == [
        ["size", "2=3", None, ""],
        ["a", "x", "a.png", "image/png"],
        ["b", "x", "a.png", "x/y"],
    ]


def test_files_get_the_type_that_is_given(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"x")
    result = run(tmp_path, "--content-type", "text/csv; charset=utf-8")
    found = json.loads(result.output)
    assert [(one["name"], one["type"]) for one in found] == [
        ("a", "text/csv; charset=utf-8"),
        ("b", "text/csv; charset=utf-8"),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--field", "a"],
        ["--field", "=1"],
        ["--field", "a=@nowhere.png"],
        ["--field", "a=1", "file"],
        ["--field", "a=1", "--content-type", "a/b"],
        ["--content-type", "png", "file"],
        ["--content-type", "a/b\r\nX: 1", "file"],
        ["--header", "no header", "file"],
        ["--header", "a: b\r\nc: d", "file"],
    ],
)
def test_what_makes_no_request_is_a_usage_error(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
