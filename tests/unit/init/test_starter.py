from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from marsmith.core.errors import ProjectError
from marsmith.init.plan import Plan
from marsmith.init.start import template_plan
from marsmith.init.starter import write_project
from marsmith.project.project import Project

FILES = """
.gitignore README.md archives.toml config.properties handlers/flowers_handler.py
model_defs/flowers.py model_defs/flowers/index_to_name.json model_store/.gitkeep
samples/shapes.png tests/test_flowers.py weights/flowers.pth
"""


@pytest.fixture
def plan() -> Iterator[Plan]:
    with template_plan("flowers", "classifier") as one:
        yield one


def test_all_files_are_written(tmp_path: Path, plan: Plan) -> None:
    done = write_project(tmp_path, plan)
    assert sorted(done.written) == FILES.split()
    assert (done.left, done.extended) == ([], [])
    names = json.loads((tmp_path / "model_defs/flowers/index_to_name.json").read_text())
    assert names == {"0": "red", "1": "green", "2": "blue"}
    assert Project(tmp_path).archives["flowers"].serialized_file == "weights/flowers.pth"
    for path in tmp_path.rglob("*.py"):
        compile(path.read_text(), path, "exec")


def test_what_exists_stays_as_it_is(tmp_path: Path, plan: Plan) -> None:
    for name in ("README.md", "config.properties"):
        (tmp_path / name).write_text("mine\n")
    (tmp_path / ".gitignore").write_text("mine\n*.key")
    done = write_project(tmp_path, plan)
    assert (tmp_path / "README.md").read_text() == "mine\n"
    assert sorted(done.left) == ["README.md", "config.properties"]
    assert done.extended == [".gitignore"]
    lines = (tmp_path / ".gitignore").read_text().splitlines()
    assert lines[:2] == ["mine", "*.key"]
    assert lines.count("*.key") == 1
    assert "model_store/*" in lines


def test_a_second_archive_joins_the_first(tmp_path: Path, plan: Plan) -> None:
    write_project(tmp_path, plan)
    with template_plan("masks", "segmenter") as other:
        done = write_project(tmp_path, other)
    assert list(Project(tmp_path).archives) == ["flowers", "masks"]
    assert done.extended == ["archives.toml"]


def test_an_archive_of_that_name_is_refused(tmp_path: Path, plan: Plan) -> None:
    write_project(tmp_path, plan)
    (tmp_path / "README.md").unlink()
    with pytest.raises(ProjectError) as error:
        write_project(tmp_path, plan)
    assert error.value.code == "archive-exists"
    assert not (tmp_path / "README.md").exists()


def test_other_weights_of_that_name_stay(tmp_path: Path, plan: Plan) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/flowers.pth").write_bytes(b"mine")
    write_project(tmp_path, plan)
    assert (tmp_path / "weights/flowers.pth").read_bytes() == b"mine"
    assert Project(tmp_path).archives["flowers"].serialized_file == "weights/flowers-2.pth"
    (tmp_path / "archives.toml").unlink()
    assert "weights/flowers-2.pth" in write_project(tmp_path, plan).left


def test_a_folder_that_cannot_be_written(tmp_path: Path, plan: Plan) -> None:
    (tmp_path / "handlers").write_text("a file")
    with pytest.raises(ProjectError) as error:
        write_project(tmp_path, plan)
    assert error.value.code == "not-writable"
    assert not (tmp_path / "archives.toml").exists()


def test_git_takes_no_archive_and_no_key(tmp_path: Path, plan: Plan) -> None:
    write_project(tmp_path, plan)
    secret = ["model_store/flowers.mar", "key_file.json", "owner.key", "tls.pem", "logs/x.log"]
    for name in [*secret, ".marsmith/state"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "-A"], cwd=tmp_path, check=True)
    listed = subprocess.run(["git", "ls-files"], cwd=tmp_path, capture_output=True, text=True)
    assert listed.stdout.split() == FILES.split()
