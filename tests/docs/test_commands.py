"""Commands and code in the documentation are such as Marsmith takes."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import fields

import click
import pytest

from marsmith.cli import cli
from marsmith.cli.gateway import DefaultCommand
from marsmith.project.spec import parse_spec
from tests.docs.commands import commands, options, parse, resolve
from tests.docs.pages import ROOT, Page, page, pages

PAGES = pages()
_REFERENCE = page("docs/reference/commands.md")


@pytest.mark.parametrize("one", PAGES, ids=lambda one: one.name)
def test_commands_in_blocks_are_what_the_command_line_takes(one: Page) -> None:
    refused = []
    for words in (words for block in one.blocks("sh") for words in commands(block.text)):
        try:
            parse(words)
        except click.UsageError as error:
            refused.append((words, error.message))
    assert refused == []


@pytest.mark.parametrize("one", PAGES, ids=lambda one: one.name)
def test_commands_in_sentences_have_the_options_named(one: Page) -> None:
    for span in one.spans():
        if re.match(r"marsmith [a-z]", span):
            words = [word for word in re.split(r"[ \[\]|…]+", span)[1:] if word]
            command, _, rest = resolve(words)
            named = {word.partition("=")[0] for word in rest if word.startswith("--")}
            assert named <= options(command), span


@pytest.mark.parametrize("one", PAGES, ids=lambda one: one.name)
def test_python_imports_what_exists(one: Page) -> None:
    for block in one.blocks("python"):
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.ImportFrom) and node.module and "marsmith" in node.module:
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)


@pytest.mark.parametrize("one", PAGES, ids=lambda one: one.name)
def test_tables_of_archives_toml_are_valid(one: Page) -> None:
    archives = (ROOT / "archives.toml").read_text().partition("[gateway]")[0]
    for block in one.blocks("toml"):
        # A table of the gateway is about this repository's archives.
        before = "" if "[archives." in block.text else archives
        assert parse_spec(before + block.text).problems == ()


def _all_commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            for inner, found in _all_commands(command, f"{before}{name} "):
                default = isinstance(command, DefaultCommand) and inner == f"{name} run"
                yield name if default else inner, found
        else:
            yield before + name, command


def _described() -> dict[str, set[str]]:
    """Return the options of each command in the reference's table."""
    rows = _REFERENCE.text.partition("## All commands")[2].partition("\n## ")[0]
    described: dict[str, set[str]] = {}
    for row in re.findall(r"^\| (`[^\n]*?`) \| ", rows, re.MULTILINE):
        for span in re.findall(r"`([^`]+)`", row):
            name = re.match(r"(weights |gateway key )?[a-z-]+", span)
            assert name, span
            described.setdefault(name[0], set()).update(re.findall(r"--[a-z0-9-]+", span))
    return described


def test_the_reference_has_every_command_and_option_and_no_other() -> None:
    real = {name: options(command) - {"--json"} for name, command in _all_commands(cli)}
    assert _described() == real


def test_the_reference_names_what_takes_json() -> None:
    sentence = re.search(
        r"\n\n([^\n]*`build`, `check`.*?) take `--json`", _REFERENCE.text, re.DOTALL
    )
    assert sentence
    real = {name for name, command in _all_commands(cli) if "--json" in options(command)}
    assert set(re.findall(r"`([a-z -]+)`", sentence[1])) == real


HANDLERS = ["image_classifier.ImageClassifier", "image_to_image.ImageToImage"]
HANDLERS += ["image_segmenter.ImageSegmenter", "object_detector.ObjectDetector"]


def _rows(name: str) -> dict[str, str]:
    """Return the rest of each row in a page's tables, by the names in its first cell."""
    rows = re.findall(r"^\| (`.+?) \| (.+) \|$", page(name).text, re.MULTILINE)
    return {key: rest for cell, rest in rows for key in re.findall(r"`(\w+)`", cell)}


@pytest.mark.parametrize("name", HANDLERS)
def test_the_reference_has_the_keys_and_content_types_of_handlers(name: str) -> None:
    module, _, attribute = name.partition(".")
    handler = getattr(importlib.import_module(f"marsmith_handlers.{module}"), attribute)
    keys = {field.name for field in fields(handler.Config)}
    assert keys - _rows("docs/reference/archives-toml.md").keys() == set()
    offered = _rows("docs/reference/requests.md")[attribute]
    assert re.findall(r"`(\w+/\w+)`", offered) == list(handler.content_types)


def test_the_internals_name_every_module_of_the_handlers() -> None:
    named = set(_rows("docs/internals/handlers.md"))
    written = {path.stem for path in (ROOT / "handlers/marsmith_handlers").glob("*.py")}
    assert named == written - {"__init__", "arrays"}
