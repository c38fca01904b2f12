"""marsmith/core/private_files.py: permissions and links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from marsmith.core.file_lock import locked
from marsmith.core.private_files import create_private, open_private


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with open_private(tmp_path / "a") as file:
            file.write(b"1")
        with create_private(tmp_path / "b") as file:
            file.write(b"1")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    with open_private(tmp_path / "a") as file:
        file.write(b"2")
    assert (tmp_path / "a").read_bytes() == b"12"


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_text("precious")
    link.symlink_to(victim)
    with pytest.raises(OSError, match="link"):
        open_private(link)
    with pytest.raises(OSError, match="link"), locked(link):
        raise AssertionError
    create_private(link).close()
    assert victim.read_text() == "precious"
    assert link.read_bytes() == b""
    assert not link.is_symlink()


def test_an_old_file_with_other_names_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "log").hardlink_to(tmp_path / "victim")
    create_private(tmp_path / "log").close()
    assert (tmp_path / "victim").read_text() == "precious"
