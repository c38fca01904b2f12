"""`marsmith init`, as typed: at a terminal it asks, without one it decides."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from click.testing import CliRunner

from marsmith.cli import cli
from marsmith.core.errors import MarsmithError, ProjectError
from tests.unit.init.networks import torchvision_model

pytestmark = pytest.mark.processes

MARSMITH = Path(sys.executable).with_name("marsmith")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "best.pth"
    torch.save(torchvision_model("resnet18", num_classes=2).state_dict(), path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


@pytest.mark.parametrize(
    "words",
    [
        "flowers",
        "flowers --classes a,b",
        "flowers --model-file {file}",
        "flowers --weights {file} --template classifier",
    ],
)
def test_options_that_do_not_go_together(root: Path, weights: Path, words: str) -> None:
    arguments = words.format(file=weights).split()
    result = CliRunner().invoke(cli, ["--project", str(root), "init", *arguments])
    assert result.exit_code == 2
    assert list(root.iterdir()) == []


def test_a_wrong_count_of_names_writes_nothing(root: Path, weights: Path) -> None:
    words = ["--project", str(root), "init", "a", "--weights", str(weights), "--classes", "x,y,z"]
    result = CliRunner().invoke(cli, words)
    assert isinstance(result.exception, ProjectError)
    assert result.exception.code == "class-count"
    assert list(root.iterdir()) == []


def test_a_name_that_is_taken_is_found_first(root: Path, tmp_path: Path) -> None:
    (root / "archives.toml").write_text('[archives.taken]\nversion = "1.0"\n')
    (tmp_path / "no.pth").write_text("no weights")
    words = ["--project", str(root), "init", "taken", "--weights", str(tmp_path / "no.pth")]
    error = CliRunner().invoke(cli, words).exception
    assert isinstance(error, MarsmithError)
    assert error.code == "archive-exists"


def test_an_error_names_the_file_of_weights(root: Path, tmp_path: Path) -> None:
    (tmp_path / "page.pth").write_text("<!DOCTYPE html>")
    words = ["--project", str(root), "init", "a", "--weights", str(tmp_path / "page.pth")]
    error = CliRunner().invoke(cli, words).exception
    assert isinstance(error, MarsmithError)
    assert error.code == "weights-format"
    assert error.message.startswith(str(tmp_path / "page.pth"))


def test_a_template_takes_names_of_classes(root: Path) -> None:
    words = ["--project", str(root), "init", "a", "--template", "detector", "--classes", "cat,dog"]
    with patch("marsmith.cli.init.record_answer"):
        result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    names = json.loads((root / "model_defs/a/index_to_name.json").read_text())
    assert names == {"0": "cat", "1": "dog"}


def test_at_a_terminal_it_asks_what_it_is_not_sure_of(root: Path, weights: Path) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [MARSMITH, "init", "flowers", "--weights", weights],
        cwd=root,
        stdin=child,
        stdout=child,
        stderr=child,
        env=os.environ | {"TERM": "dumb"},
    )
    os.close(child)
    os.write(parent, b"2\ndaisy, rose\n")
    shown = b""
    with os.fdopen(parent, "rb", buffering=0) as terminal:
        try:
            while piece := terminal.read(4096):
                shown += piece
        except OSError:  # Linux says so when the other side has closed
            pass
    assert process.wait(timeout=60) == 0, shown.decode()
    assert "timm.create_model" in (root / "model_defs/flowers.py").read_text()
    names = json.loads((root / "model_defs/flowers/index_to_name.json").read_text())
    assert names == {"0": "daisy", "1": "rose"}
    assert (root / "samples/shapes-flowers.json").exists()
