"""marsmith/server/own_folder.py: whose folder it is, and what cleaners see of it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from marsmith.core.errors import ServerError
from marsmith.server.own_folder import OwnFolder, is_ours, remove
from tests.codes import coded


def test_it_is_its_users_alone_and_holds_its_nonce(folder: OwnFolder) -> None:
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert (folder.path / "nonce").stat().st_mode & 0o777 == 0o600
    assert folder.is_ours
    assert is_ours(folder.path, folder.nonce)


@pytest.mark.parametrize("nonce", ["", "0" * 32, "é"])
def test_another_nonce_is_of_another_folder(folder: OwnFolder, nonce: str) -> None:
    assert not is_ours(folder.path, nonce)
    remove(folder.path, nonce)
    assert folder.path.exists()


def test_a_folder_that_others_can_enter_is_not_ours(folder: OwnFolder) -> None:
    folder.path.chmod(0o750)
    assert not folder.is_ours


def test_a_folder_of_another_name_is_not_ours(folder: OwnFolder) -> None:
    other = folder.path.with_name("thesis")
    shutil.copytree(folder.path, other)
    other.chmod(0o700)
    assert not is_ours(other, folder.nonce)


def test_a_link_is_not_ours(folder: OwnFolder) -> None:
    link = folder.path.with_name("marsmith-link")
    link.symlink_to(folder.path)
    assert not is_ours(link, folder.nonce)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_nonce_that_is_no_file_is_none(folder: OwnFolder, make: object) -> None:
    assert callable(make)
    (folder.path / "nonce").unlink()
    make(folder.path / "nonce")
    assert not folder.is_ours


def test_a_nonce_that_is_a_link_is_none(folder: OwnFolder, tmp_path: Path) -> None:
    (folder.path / "nonce").rename(tmp_path / "nonce")
    (folder.path / "nonce").symlink_to(tmp_path / "nonce")
    assert not folder.is_ours


def test_it_is_locked_against_cleaners_until_it_is_removed(folder: OwnFolder) -> None:
    handle = os.open(folder.path, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    folder.release()
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)


@pytest.mark.skipif(not shutil.which("systemd-tmpfiles"), reason="needs systemd-tmpfiles")
def test_systemd_leaves_it_alone(folder: OwnFolder, temporary_folder: Path) -> None:
    (folder.path / "models").mkdir()
    (folder.path / "models" / "weights").write_text("x")
    (temporary_folder / "forgotten").mkdir()
    config = temporary_folder / "clean.conf"
    config.write_text(f"d {temporary_folder} - - - 1us\n")
    time.sleep(0.01)
    subprocess.run(["systemd-tmpfiles", "--clean", config], check=False, capture_output=True)
    assert not (temporary_folder / "forgotten").exists()
    assert (folder.path / "models" / "weights").read_text() == "x"


def test_nothing_in_it_looks_old_once_its_times_are_renewed(folder: OwnFolder) -> None:
    (folder.path / "models" / "a").mkdir(parents=True)
    (folder.path / "models" / "a" / "file").touch()
    (folder.path / "models" / "link").symlink_to("/nowhere")
    paths = [folder.path, *folder.path.rglob("*")]
    for path in paths:
        os.utime(path, (1, 1), follow_symlinks=False)
    folder.renew_times()
    times = [(path.lstat().st_atime, path.lstat().st_mtime) for path in paths]
    assert min(min(pair) for pair in times) > 1_000_000


def test_it_is_made_again_where_it_was(folder: OwnFolder) -> None:
    shutil.rmtree(folder.path)
    assert not folder.is_ours
    folder.make()
    assert folder.is_ours


def test_what_took_its_place_is_left_alone(folder: OwnFolder) -> None:
    shutil.rmtree(folder.path)
    folder.path.mkdir()
    (folder.path / "theirs").touch()
    with pytest.raises(ServerError, check=coded("folder-replaced")):
        folder.make()
    folder.remove()
    assert (folder.path / "theirs").exists()


def test_clearing_keeps_the_nonce_and_what_is_named(folder: OwnFolder) -> None:
    for name in ("key_file.json", "fork.sock"):
        (folder.path / name).touch()
    (folder.path / "models" / "a").mkdir(parents=True)
    folder.clear("key_file.json")
    assert sorted(path.name for path in folder.path.iterdir()) == ["key_file.json", "nonce"]
