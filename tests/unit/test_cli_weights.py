"""`marsmith weights`, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from marsmith.cli import cli
from marsmith.errors import WeightsError

from .conftest import SavedByTorch


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(cli, ["weights", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_inspect_lists_tensors_and_what_else_there_is(tmp_path: Path) -> None:
    path = tmp_path / "in.pth"
    state = {"w": torch.tensor([[1.0, float("nan")]]), "n": torch.tensor(3)}
    torch.save({"epoch": 7, "state_dict": state}, path)
    lines = run("inspect", path).splitlines()
    assert lines[0].startswith(f"{path}: PyTorch zip, ")
    row = "state_dict.w 1 x 2 float32 8 B 1 NaN or infinite"
    assert lines[2].split() == row.split()
    assert lines[3].split() == ["state_dict.n", "scalar", "int64", "8", "B"]
    assert lines[4:] == [
        "2 tensors, 3 values, 16 B",
        "also: epoch = 7",
        "also: state_dict = dict of 2",
    ]
    described = json.loads(run("inspect", path, "--json"))
    assert described["tensors"]["state_dict.w"] == {
        "shape": [1, 2],
        "dtype": "float32",
        "size": 8,
        "bad": 1,
    }
    assert (described["others"]["epoch"], described["code"]) == ("7", [])


def test_inspect_names_the_code_of_a_module(tmp_path: Path, saved: SavedByTorch) -> None:
    path = tmp_path / "in.pth"
    path.write_bytes(saved.module_zip)
    output = run("inspect", path)
    assert "a whole module" in output
    assert "loading it would import: " in output
    assert "torch.nn.modules.linear.Linear" in output


def test_extract_says_what_it_kept_renamed_and_dropped(tmp_path: Path) -> None:
    path, out = tmp_path / "in.ckpt", tmp_path / "out.safetensors"
    torch.save({"epoch": 7, "state_dict": {"model.fc.weight": torch.ones(2, 2)}}, path)
    assert run("extract", path, "--out", out).splitlines() == [
        f"wrote      {out}: 1 tensors of state_dict, 16 B",
        "renamed    model.NAME to NAME",
        "dropped    epoch",
    ]
    with pytest.raises(WeightsError, match="exists"):
        run("extract", path, "--out", out)
