"""`marsmith inspect` and `marsmith diff`, as typed."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from marsmith.building.writer import write_archive
from marsmith.cli import cli
from marsmith.core.errors import ArchiveError
from tests.codes import coded, tells
from tests.projects import FILES, run_marsmith
from tests.unit.conftest import MakeProject

pytestmark = pytest.mark.processes


@pytest.fixture
def root(project: MakeProject) -> Path:
    """A project whose archive is built."""
    tiny = project()
    write_archive(tiny, tiny.spec_file.archives["tiny"])
    return tiny.root


def run(root: Path, *arguments: str | Path) -> Result:
    words = ["--project", str(root), *map(str, arguments)]
    return CliRunner().invoke(cli, words, catch_exceptions=False)


def test_inspect_shows_an_archive_by_name_file_and_folder(root: Path) -> None:
    store = root / "model_store"
    with zipfile.ZipFile(store / "tiny.mar") as archive:
        archive.extractall(store / "unpacked")
    for name in ("tiny", store / "tiny.mar", store / "unpacked"):
        result = run(root, "inspect", name)
        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        assert lines[0] == "tiny 1.0"
        assert {"samples", "serving", "handler_config", "files"} <= set(lines)
        assert ["handler", "tiny_handler.py"] in [line.split() for line in lines]
        assert ["signature", "none"] in [line.split() for line in lines]


def test_inspect_as_json_has_everything(root: Path) -> None:
    values = json.loads(run(root, "inspect", "tiny", "--json").stdout)
    assert values["manifest"]["model"]["handler"] == "tiny_handler.py"
    assert values["serving"] == {"minWorkers": 1, "batchSize": 4}
    assert values["handlerConfig"] == {"size": [28, 28]}
    assert values["samples"] == [
        {
            "name": "one.bin",
            "request": {"kind": "bytes", "size": 3},
            "answer": {"kind": "JSON", "size": 4, "type": "list", "length": 1},
            "tolerance": 0.001,
        }
    ]
    assert {"name": "inner/deep.txt", "size": 8} in values["files"]
    assert len(values["sha256"]) == 64


def foreign(path: Path, model: dict[str, Any], files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": model}))
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_inspect_shows_weights_and_what_is_missing(tmp_path: Path) -> None:
    torch.save({f"layers.{n}.weight": torch.ones(2, 2) for n in range(40)}, tmp_path / "w.pth")
    model = {"handler": "h:go", "modelFile": "m.py", "serializedFile": "w.pth"}
    files = {"w.pth": (tmp_path / "w.pth").read_bytes(), "h.py": b""}
    result = run(tmp_path, "inspect", foreign(tmp_path / "a.mar", model, files))
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0] == "a"
    assert any(tells(line, "handler", "h.py", "go") for line in lines)
    assert any(tells(line, "m.py") for line in lines)
    assert "weights w.pth" in lines
    assert "tensors 40 (float32)" in lines
    assert "layers.0 4 weight 2 x 2" in lines
    assert any(tells(line, 24, "--json") for line in lines)  # layers that are not shown


def test_names_from_an_archive_cannot_act_on_the_terminal(tmp_path: Path) -> None:
    escape = "\x1b]0;title\x07"
    model = {"modelName": escape, "handler": escape, "serializedFile": escape}
    path = foreign(tmp_path / "a.mar", model, {"one.py": b"1\n"})
    other = foreign(tmp_path / "b.mar", {"modelName": escape * 2}, {"one.py": b"\x1b2\n"})
    for result in (run(tmp_path, "inspect", path), run(tmp_path, "diff", path, other, "--no-run")):
        assert "\x1b" not in result.stdout
        assert "\x07" not in result.stdout
    with pytest.raises(ArchiveError, check=coded("entry-name")):
        run(tmp_path, "inspect", foreign(tmp_path / "c.mar", {}, {f"{escape}.py": b"1\n"}))


def test_diff_of_the_same_says_so_with_status_0(root: Path) -> None:
    copy = shutil.copy(root / "model_store" / "tiny.mar", root / "copy.mar")
    result = run(root, "diff", "tiny", copy)
    assert result.exit_code == 0
    assert ["one.bin", "A", "B", "same"] in [line.split() for line in result.stdout.splitlines()]
    assert json.loads(run(root, "diff", "tiny", copy, "--json").stdout)["same"] is True
    assert run(root, "diff", "tiny", copy, "--no-run").exit_code == 0


@pytest.fixture
def changed(root: Path, project: MakeProject) -> Path:
    """Another build of it, with another answer, configuration and files."""
    handler = str(FILES["handlers/tiny_handler.py"]).replace("len(row)", "len(row) + 0.5")
    files = {**FILES, "handlers/tiny_handler.py": handler, "extra/more.txt": "more"}
    spec = (root / "archives.toml").read_text().replace("batchSize = 4", "batchSize = 8")
    other = project(files, spec, "other")
    write_archive(other, other.spec_file.archives["tiny"])
    return other.model_store / "tiny.mar"


def test_diff_shows_what_differs_with_status_1(root: Path, changed: Path) -> None:
    result = run(root, "diff", "tiny", changed)
    assert result.exit_code == 1
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert any(tells(line, "more.txt", "4 B") for line in lines)
    assert "+ return [len(row) + 0.5 for row in data]" in lines
    assert "batchSize 4 8" in lines
    assert any(tells(line, "one.bin", "A", "B", 0.5) for line in lines)
    assert tells(lines[-1], 3, 1, 1)  # files, values, answers


def test_diff_as_json_has_everything(root: Path, changed: Path) -> None:
    result = run(root, "diff", "tiny", changed, "--json")
    assert result.exit_code == 1
    values = json.loads(result.stdout)
    assert values["same"] is False
    assert [one["name"] for one in values["files"]] == [
        "model-config.yaml",
        "more.txt",
        "tiny_handler.py",
    ]
    assert values["values"] == [{"part": "config", "key": "batchSize", "before": 4, "after": 8}]
    assert values["answers"][0]["largestDifference"] == 0.5
    assert values["answers"][0]["sampleOf"] == ["A", "B"]
    assert (values["loadFailures"], values["problems"], values["weights"]) == ({}, [], [])


def test_what_is_no_archive_is_an_error_with_a_hint(root: Path) -> None:
    for arguments in (("inspect", "nothing"), ("diff", "tiny", "nothing"), ("inspect", root)):
        result = run_marsmith("--project", root, *arguments)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.splitlines()[-1].startswith("  hint: ")
