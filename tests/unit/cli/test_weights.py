"""`marsmith weights`, as typed."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from marsmith.cli import cli
from marsmith.core.errors import WeightsError
from tests.codes import coded, tells
from tests.projects import run_marsmith
from tests.unit.conftest import SavedByTorch


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(cli, ["weights", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_inspect_lists_tensors_and_what_else_there_is(tmp_path: Path) -> None:
    path = tmp_path / "in.pth"
    state = {"w": torch.tensor([[1.0, float("nan")]]), "n": torch.tensor(3)}
    torch.save({"epoch": 7, "state_dict": state}, path)
    lines = run("inspect", path).splitlines()
    assert lines[0].startswith(f"{path}: ")
    row = "state_dict.w 1 x 2 float32 8 B 1 NaN or infinite"
    assert lines[2].split() == row.split()
    assert lines[3].split() == ["state_dict.n", "scalar", "int64", "8", "B"]
    for line, values in zip(
        lines[4:], [(2, 3, "16 B"), ("epoch", 7), ("state_dict", 2, "16 B")], strict=True
    ):
        assert tells(line, *values)
    described = json.loads(run("inspect", path, "--json"))
    assert described["tensors"]["state_dict.w"] == {
        "shape": [1, 2],
        "dtype": "float32",
        "size": 8,
        "notFinite": 1,
    }
    assert (described["others"]["epoch"], described["code"]) == (7, [])
    assert described["totals"] == {"tensors": 2, "values": 3, "size": 16}


def test_inspect_names_the_code_of_a_module(tmp_path: Path, saved: SavedByTorch) -> None:
    path = tmp_path / "in.pth"
    path.write_bytes(saved.module_zip)
    output = run("inspect", path)
    assert "torch.nn.modules.linear.Linear" in output
    described = json.loads(run("inspect", path, "--json"))
    assert "torch.nn.modules.linear.Linear" in described["code"]


def test_extract_says_what_it_kept_renamed_and_dropped(tmp_path: Path) -> None:
    path, out = tmp_path / "in.ckpt", tmp_path / "out.safetensors"
    torch.save({"epoch": 7, "state_dict": {"model.fc.weight": torch.ones(2, 2)}}, path)
    written, renamed, dropped = run("extract", path, "--out", out).splitlines()
    assert tells(written, out, 1, "state_dict", "16 B")
    assert tells(renamed, "model.NAME", "NAME")
    assert tells(dropped, "epoch")
    with pytest.raises(WeightsError, check=coded("output-exists")):
        run("extract", path, "--out", out)


def test_inspect_keeps_trainings_tensors_out_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "in.pth"
    optimizer = {"state": {0: {"exp_avg": torch.zeros(4)}}, "param_groups": []}
    torch.save({"model": {"w": torch.ones(1)}, "optimizer": optimizer, "loss": torch.ones(1)}, path)
    assert [line.split()[0] for line in run("inspect", path).splitlines()[1:3]] == [
        "tensor",
        "model.w",
    ]
    total, kind, *others = run("inspect", path).splitlines()[3:]
    assert tells(kind, "training checkpoint", "optimizer")
    assert tells(total, 3, 6, "24 B", 2, "--json")
    values = [("model", 1, "4 B"), ("optimizer", 1, "16 B"), ("loss", 1, "4 B")]
    assert all(tells(line, *told) for line, told in zip(others, values, strict=True))
    assert "optimizer.state.0.exp_avg" in json.loads(run("inspect", path, "--json"))["tensors"]


def test_inspect_says_that_torchscript_is_a_program(tmp_path: Path, saved: SavedByTorch) -> None:
    path = tmp_path / "in.pt"
    path.write_bytes(saved.torchscript)
    assert "TorchScript" in run("inspect", path)
    assert json.loads(run("inspect", path, "--json"))["kind"] == "TorchScript"


def test_inspect_names_an_attack(tmp_path: Path) -> None:
    path = tmp_path / "in.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"cposix\nsystem\n(X\4\0\0\0exittR.")
    assert tells(run("inspect", path), "posix.system")
    assert json.loads(run("inspect", path, "--json"))["hostile"] == ["posix.system"]


@pytest.mark.parametrize("kept", [0, 1, 100, 700, -1])
@pytest.mark.parametrize("command", ["inspect", "extract"])
def test_a_damaged_file_is_an_error_that_names_it(
    tmp_path: Path, saved: SavedByTorch, command: str, kept: int
) -> None:
    path = tmp_path / "in.pth"
    path.write_bytes(saved.state_dict_legacy[:kept])
    more = ["--out", str(tmp_path / "out.pth")] if command == "extract" else []
    result = run_marsmith("weights", command, path, *more)
    assert (result.returncode, result.stdout) == (1, "")
    error, hint = result.stderr.splitlines()
    code = "weights-empty" if kept == 0 else "weights-(format|damaged)"
    assert re.match(rf"error\[{code}\]: {re.escape(str(path))}: ", error)
    assert hint.startswith("  hint: ")
    assert [one.name for one in tmp_path.iterdir()] == ["in.pth"]
