"""marsmith logs, top and status where no server runs, and a metrics_config."""

from __future__ import annotations

from pathlib import Path

import pytest

from marsmith.core.errors import ProjectError
from marsmith.security.hardening import guard
from tests.projects import run_marsmith
from tests.unit.conftest import MakeProject

pytestmark = pytest.mark.processes
LOG = """\
2026-11-21T13:44:12,492 W-9000-digits_1.0-stdout earlier
2026-11-21T13:44:14,492 W-9000-digits_1.0-stdout \x1b[2J later
"""
SERVER_LOG = "2026-11-21T13:44:13,000 main WARN ModelManager in between\n"


def write_logs(root: Path, port: int) -> Path:
    folder = root / ".marsmith" / "servers" / str(port)
    folder.mkdir(parents=True)
    (folder / "workers.log").write_text(LOG)
    (folder / "server.log").write_text(SERVER_LOG)
    return folder


def test_logs_of_a_server_that_stopped_are_merged_by_time(project: MakeProject) -> None:
    root = project().root
    write_logs(root, 8080)
    result = run_marsmith("logs", cwd=root)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "2026-11-21T13:44:12.492 digits/9000 earlier",
        "2026-11-21T13:44:13.000 server WARN in between",
        "2026-11-21T13:44:14.492 digits/9000 \\x1b[2J later",  # no terminal obeys it
    ]
    assert run_marsmith("logs", "--tail", "1", cwd=root).stdout.splitlines() == [
        "2026-11-21T13:44:14.492 digits/9000 \\x1b[2J later"
    ]
    assert "in between" not in run_marsmith("logs", "digits", cwd=root).stdout


def test_logs_are_there_although_archives_toml_is_broken(project: MakeProject) -> None:
    root = project().root
    write_logs(root, 8080)
    (root / "archives.toml").write_text("[archives")
    assert "earlier" in run_marsmith("logs", cwd=root).stdout


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("logs",), "marsmith serve"),
        (("logs", "--port", "9999"), "marsmith serve"),
        (("top",), "marsmith serve"),
    ],
)
def test_without_a_server_there_is_a_hint(
    project: MakeProject, arguments: tuple[str, ...], hint: str
) -> None:
    result = run_marsmith(*arguments, cwd=project().root)
    assert result.returncode == 1
    assert "error[no-server]" in result.stderr
    assert hint in result.stderr


def test_logs_of_a_model_that_nobody_knows(project: MakeProject) -> None:
    root = project().root
    write_logs(root, 8080)
    result = run_marsmith("logs", "nobody", cwd=root)
    assert result.returncode == 1
    assert "error[unknown-model]" in result.stderr


def test_a_metrics_config_is_found_from_the_project(project: MakeProject) -> None:
    made = project()
    (made.root / "mine.yaml").touch()
    found = guard(made, {"metrics_config": "mine.yaml"}, secure=False, tls=False)
    assert found.properties["metrics_config"] == str(made.root / "mine.yaml")
    with pytest.raises(ProjectError, match=r"other\.yaml"):
        guard(made, {"metrics_config": "other.yaml"}, secure=False, tls=False)
