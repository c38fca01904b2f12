"""marsmith/project/project.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from marsmith.core.errors import ProjectError
from marsmith.project.project import Project
from tests.codes import coded
from tests.projects import SPEC
from tests.unit.conftest import MakeProject


def test_the_nearest_project_upward_is_found(
    project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = project()
    monkeypatch.chdir(tiny.root / "extra/inner")
    assert Project.find().root == tiny.root


def test_a_named_folder_is_the_only_one_looked_at(project: MakeProject) -> None:
    tiny = project()
    assert Project.find(tiny.root).root == tiny.root
    with pytest.raises(ProjectError) as caught:
        Project.find(tiny.root / "extra")
    assert str(tiny.root / "extra") in caught.value.message


def test_no_project_anywhere_says_where_was_looked_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProjectError) as caught:
        Project.find()
    assert f"{tmp_path} or a folder above it" in caught.value.message
    assert "--project DIR" in caught.value.hint


def test_a_spec_that_is_no_text_is_a_project_error(project: MakeProject) -> None:
    tiny = project()
    (tiny.root / "archives.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ProjectError, check=coded("spec-unreadable")):
        _ = tiny.spec_file


def test_specs_come_in_the_order_asked_for_and_once_each(project: MakeProject) -> None:
    other = '[archives.other]\nversion = "1"\nhandler = "h.py"\n'
    both = project(spec=SPEC + other)
    assert [spec.name for spec in both.specs(())] == ["tiny", "other"]
    assert [spec.name for spec in both.specs(("other", "tiny", "other"))] == ["other", "tiny"]


def test_a_project_without_a_configuration_has_an_empty_one(project: MakeProject) -> None:
    assert project().config == {}
    with_config = project({"config.properties": "a=1\n"}, folder="other")
    assert with_config.config == {"a": "1"}


def test_the_kits_own_folder_is_hidden_from_git(project: MakeProject) -> None:
    tiny = project()
    assert tiny.state_folder("a/b") == tiny.root / ".marsmith/a/b"
    assert (tiny.root / ".marsmith/a/b").is_dir()
    assert (tiny.root / ".marsmith/.gitignore").read_text() == "*\n"


@pytest.mark.parametrize("linked", [".marsmith", ".marsmith/servers", ".marsmith/servers/8080"])
def test_nothing_is_written_through_a_link_in_its_place(
    project: MakeProject, tmp_path: Path, linked: str
) -> None:
    tiny = project()
    (tmp_path / "elsewhere").mkdir()
    (tiny.root / linked).parent.mkdir(parents=True, exist_ok=True)
    (tiny.root / linked).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ProjectError, check=coded("linked-folder")):
        tiny.state_folder("servers/8080")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_project_may_be_reached_by_a_link(project: MakeProject, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(project().root)
    assert Project(tmp_path / "link").state_folder("build").is_dir()


def test_a_file_in_the_place_of_the_kits_folder_is_an_error(project: MakeProject) -> None:
    tiny = project()
    (tiny.root / ".marsmith").write_text("in the way")
    with pytest.raises(ProjectError, check=coded("not-writable")):
        tiny.state_folder("build")
