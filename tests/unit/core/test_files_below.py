"""marsmith/core/files_below.py: a walk never leaves its folder by a link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from marsmith.building.calibration import split_photos
from marsmith.cli.answers import files_of
from marsmith.core.errors import ProjectError
from marsmith.core.files_below import files_below
from tests.codes import coded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key.png").write_text("secret")
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/b.png").write_text("b")
    (folder / "a.png").write_text("a")
    return folder


def test_files_are_sorted_and_links_within_count(folder: Path) -> None:
    (folder / "c.png").symlink_to("a.png")
    (folder / "sub/d.png").symlink_to(folder / "a.png")
    os.mkfifo(folder / "pipe")
    found = [path.relative_to(folder).as_posix() for path in files_below(folder)]
    assert found == ["a.png", "c.png", "sub/b.png", "sub/d.png"]


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("x.png", "../secret/key.png"),
        ("sub/x.png", "../../secret/key.png"),
        ("x", "../secret"),
        ("x.png", "/etc/passwd"),
        ("x.png", "sub/../../secret/key.png"),
        ("x.png", "../folder-of-others"),
    ],
)
def test_no_walk_follows_a_link_that_leads_out(folder: Path, link: str, target: str) -> None:
    (folder / link).symlink_to(target)
    for walk in (files_below, split_photos, lambda path: list(files_of((path,)))):
        with pytest.raises(ProjectError, check=coded("link-leads-out")):
            walk(folder)


def test_a_link_through_another_link_leads_out_too(folder: Path) -> None:
    (folder.parent / "way").symlink_to(folder.parent / "secret")
    (folder / "x.png").symlink_to(folder.parent / "way/key.png")
    with pytest.raises(ProjectError, check=coded("link-leads-out")):
        files_below(folder)


def test_a_folder_that_is_named_by_a_link_is_walked(folder: Path) -> None:
    (folder.parent / "named").symlink_to(folder)
    assert len(files_below(folder.parent / "named")) == 2
