"""marsmith/cli/commands.py and completion.py: help, misspelt names, errors, completion."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from marsmith.cli import cli
from marsmith.cli.commands import GROUPS
from marsmith.cli.gateway import DefaultCommand
from tests.projects import SPEC, run_marsmith
from tests.unit.conftest import MakeProject

pytestmark = pytest.mark.processes
NAMES = [name for group in GROUPS.values() for name in group] + ["completion"]


def command(name: str) -> click.Command:
    with click.Context(cli) as context:
        found = cli.get_command(context, name)
    assert found is not None
    return found


def help_of(*words: str, width: int = 80) -> str:
    result = CliRunner().invoke(cli, [*words, "--help"], terminal_width=width)
    assert result.exit_code == 0
    return result.stdout


def test_help_has_each_command_in_one_line_in_its_group() -> None:
    lines = help_of().splitlines()
    assert max(map(len, lines)) <= 80
    group = ""
    found: dict[str, list[str]] = {}
    for line in lines[lines.index("Make:") :]:
        if line.endswith(":") and not line.startswith(" "):
            group = line[:-1]
        elif line.startswith("  ") and line.split()[0] in NAMES:
            found.setdefault(group, []).append(line.split()[0])
    assert found == {title: list(commands) for title, commands in GROUPS.items()}


def examples() -> Iterator[tuple[str, list[str]]]:
    for name in NAMES:
        lines = [line.strip() for line in (command(name).epilog or "").splitlines()]
        for line in lines:
            if line.startswith("marsmith "):
                yield name, shlex.split(line.partition(" | ")[0].partition(" > ")[0])[1:]


def test_every_command_has_an_example() -> None:
    assert {name for name, _ in examples()} | {"completion"} == set(NAMES)


@pytest.mark.parametrize(("name", "words"), list(examples()), ids=lambda value: str(value))
def test_every_example_names_options_that_there_are(name: str, words: list[str]) -> None:
    assert words[0] == name
    found, rest = command(name), words[1:]
    if isinstance(found, DefaultCommand):
        rest = found.completed(rest)
    if isinstance(found, click.Group):
        found, rest = found.commands[rest[0]], rest[1:]
    # Values such as files that are not here are not looked at.
    parent = cli.make_context("marsmith", [], resilient_parsing=True)
    context = found.make_context(name, list(rest), parent=parent, resilient_parsing=True)
    assert context.args == []
    options = {option for one in found.params for option in (*one.opts, *one.secondary_opts)}
    assert {word for word in rest if word.startswith("-") and word != "-"} <= options


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["biuld"], "'build'"), (["build", "--fource"], "--force"), (["qwertz"], "--help")],
)
def test_a_misspelt_command_or_option_gets_a_suggestion(words: list[str], meant: str) -> None:
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 2
    assert meant in result.stderr.splitlines()[-1]


# ---- errors as JSON


def error_of(result: subprocess.CompletedProcess[str], status: int = 1) -> dict[str, object]:
    assert (result.returncode, result.stderr) == (status, "")
    (line,) = result.stdout.splitlines()
    error: dict[str, object] = json.loads(line)["error"]
    assert set(error) == {"code", "message", "hint", "findings"}
    assert error["message"] and error["hint"]
    return error


def with_json() -> list[list[str]]:
    required = {"predict": ["tiny", "archives.toml"], "run": ["tiny", "archives.toml"]}
    required |= {"inspect": ["tiny"], "diff": ["tiny", "tiny"], "undeploy": ["tiny", "1.0"]}
    required |= {"deploy": ["tiny"], "rollback": ["tiny"]}
    found = []
    for name in NAMES:
        if any("--json" in one.opts for one in command(name).params):
            found.append([name, *required.get(name, [])])
    return found


@pytest.mark.parametrize("words", with_json(), ids=" ".join)
def test_with_json_every_command_prints_its_error_as_json(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "archives.toml").write_text("[archives")
    if words[0] == "status":  # needs no archives.toml that can be read
        (tmp_path / "archives.toml").unlink()
    result = run_marsmith(*words, "--json", cwd=tmp_path)
    assert error_of(result)["code"] != "bug"


@pytest.mark.parametrize(
    "words",
    [["biuld"], ["build", "--forse"], ["inspect"], ["build", "--lock", "tiny"], ["--prject"]],
    ids=" ".join,
)
def test_wrong_usage_is_json_too(project: MakeProject, words: list[str]) -> None:
    result = run_marsmith(*words, "--json", cwd=project().root)
    assert error_of(result, status=2)["code"] == "usage"


def test_findings_are_part_of_the_error(project: MakeProject) -> None:
    spec = SPEC.replace("batchSize", "batchSise").replace('version = "1.0"', "version = 1.0")
    error = error_of(run_marsmith("build", "--json", cwd=project(spec=spec).root))
    assert error["code"] == "findings"
    assert isinstance(error["findings"], list)
    assert [(one["file"], one["line"]) for one in error["findings"]] == [
        ("archives.toml", 2),
        ("archives.toml", 11),
    ]


def test_an_error_that_nobody_foresaw_is_json_too(project: MakeProject) -> None:
    root = project().root
    (root / "model_store").write_text("no folder")
    assert error_of(run_marsmith("build", "--json", cwd=root))["code"] != "bug"


# ---- completion


def completions(root: Path, *words: str) -> list[str]:
    complete = ShellComplete(cli, {}, "marsmith", "_MARSMITH_COMPLETE")
    found = complete.get_completions(["--project", str(root), *words[:-1]], words[-1])
    return [one.value if one.type == "plain" else f"<{one.type}>" for one in found]


def test_archives_are_completed_from_the_project_and_the_model_store(
    project: MakeProject,
) -> None:
    root = project().root
    (root / "model_store").mkdir(exist_ok=True)
    (root / "model_store" / "tiny-onnx.mar").touch()
    assert completions(root, "build", "t") == ["tiny", "tiny-onnx"]
    assert completions(root, "run", "tiny-") == ["tiny-onnx"]
    assert completions(root, "inspect", "./some") == ["<file>"]
    assert completions(root, "un") == ["undeploy"]
    (root / "archives.toml").write_text("[archives")
    assert completions(root, "build", "") == ["tiny-onnx"]


def test_completing_outside_of_a_project_is_no_error(tmp_path: Path) -> None:
    assert completions(tmp_path, "build", "t") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_printed(tmp_path: Path, shell: str) -> None:
    result = run_marsmith("completion", shell, cwd=tmp_path)
    assert result.returncode == 0
    assert "_MARSMITH_COMPLETE" in result.stdout
    assert f"{shell}_complete" in result.stdout


def test_bash_completes_by_the_script(project: MakeProject) -> None:
    root = project().root
    env = {"COMP_WORDS": "marsmith build ti", "COMP_CWORD": "2"}
    code = "import sys; sys.argv = ['marsmith']; from marsmith.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env=os.environ | env | {"_MARSMITH_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.stdout.split() == ["plain,tiny"]
