"""marsmith sign, verify-signature, new-key, bill, and build with a lock, as a shell runs them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from marsmith.security.signing_keys import PASSWORD_VARIABLE
from tests.codes import tells
from tests.projects import run_marsmith
from tests.unit.cli.test_main import assert_error
from tests.unit.conftest import MakeProject

pytestmark = pytest.mark.processes
SECRET = {PASSWORD_VARIABLE: "secret"}


@pytest.fixture
def root(project: MakeProject) -> Path:
    """A project with its archive built, and a pair of keys."""
    root = project().root
    for command in (["build"], ["new-key", "team"]):
        assert run_marsmith(*command, cwd=root).returncode == 0
    return root


# ---- keys


def test_a_new_pair_is_named_with_what_to_do_with_each(root: Path) -> None:
    result = run_marsmith("new-key", "keys-of-ours", cwd=root)
    assert (result.returncode, result.stderr) == (0, "")
    private, public = result.stdout.splitlines()[:2]
    assert tells(private, "private", "keys-of-ours.key")
    assert tells(public, "public", "keys-of-ours.pub")
    assert stat.S_IMODE((root / "keys-of-ours.key").stat().st_mode) == 0o600


def test_a_pair_is_never_overwritten(root: Path) -> None:
    before = (root / "team.key").read_bytes()
    assert_error(run_marsmith("new-key", "team", cwd=root), "error[key-exists]")
    assert (root / "team.key").read_bytes() == before


def test_a_password_comes_from_the_environment_and_opens_the_key(root: Path) -> None:
    assert run_marsmith("new-key", "locked", "--encrypt", cwd=root, env=SECRET).returncode == 0
    sign = ("sign", "tiny", "--key", "locked.key")
    assert_error(run_marsmith(*sign, cwd=root), "error[encrypted-key]", PASSWORD_VARIABLE)
    wrong = {PASSWORD_VARIABLE: "wrong"}
    assert_error(run_marsmith(*sign, cwd=root, env=wrong), "error[wrong-password]")
    assert run_marsmith(*sign, cwd=root, env=SECRET).returncode == 0


def test_a_key_without_a_password_takes_no_notice_of_one(root: Path) -> None:
    result = run_marsmith("sign", "tiny", "--key", "team.key", cwd=root, env=SECRET)
    assert (result.returncode, result.stderr) == (0, "")


def test_no_password_and_nobody_to_ask_is_an_error(root: Path) -> None:
    command = [sys.executable, "-m", "marsmith", "new-key", "locked", "--encrypt"]
    result = subprocess.run(
        command,
        cwd=root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert_error(result, "error[no-password]", PASSWORD_VARIABLE)
    assert not (root / "locked.key").exists()


def test_in_a_terminal_the_password_is_asked_for_and_not_shown(root: Path) -> None:
    run_marsmith("new-key", "locked", "--encrypt", cwd=root, env=SECRET)
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "marsmith", "sign", "tiny", "--key", "locked.key"],
        cwd=root,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
        text=True,
    )
    os.close(theirs)
    shown = b""
    while b"password of the key: " not in shown:
        shown += os.read(ours, 1000)
    os.write(ours, b"secret\n")
    output, _ = process.communicate(timeout=60)
    with contextlib.suppress(OSError):  # if nothing more was said before the terminal closed
        shown += os.read(ours, 1000)
    os.close(ours)
    assert process.returncode == 0, shown
    assert output == "signed     model_store/tiny.mar.sig\n"
    assert b"secret" not in shown


# ---- signatures


@pytest.mark.parametrize("named", ["tiny", "model_store/tiny.mar"])
def test_an_archive_is_signed_and_verified_by_name_or_file(root: Path, named: str) -> None:
    signed = run_marsmith("sign", named, "--key", "team.key", cwd=root)
    assert (signed.returncode, signed.stderr) == (0, "")
    assert signed.stdout.split()[-1] == "model_store/tiny.mar.sig"
    verified = run_marsmith("verify-signature", named, "--key", "team.pub", cwd=root)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert tells(verified.stdout, "model_store/tiny.mar", "team.pub")


def test_files_are_signed_and_verified_outside_of_any_project(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(root / "model_store/tiny.mar", elsewhere)
    for words in (("sign", "tiny.mar", "--key"), ("verify-signature", "tiny.mar", "--key")):
        key = root / ("team.key" if words[0] == "sign" else "team.pub")
        result = run_marsmith(*words, key, cwd=elsewhere)
        assert (result.returncode, result.stderr) == (0, "")


def test_what_does_not_verify_is_an_error(root: Path) -> None:
    verify = ("verify-signature", "tiny", "--key", "team.pub")
    assert_error(run_marsmith(*verify, cwd=root), "error[unsigned]", "--key KEY")
    run_marsmith("sign", "tiny", "--key", "team.key", cwd=root)
    run_marsmith("new-key", "other", cwd=root)
    other = run_marsmith(*verify[:-1], "other.pub", cwd=root)
    assert_error(other, "error[other-key]")
    archive = root / "model_store/tiny.mar"
    content = archive.read_bytes()
    archive.write_bytes(content.replace(b"HELP = True", b"HELP = None"))
    again = ("verify-signature", "model_store/tiny.mar", *verify[2:])
    assert_error(run_marsmith(*again, cwd=root), "error[altered]")
    archive.write_bytes(content + b"x")
    assert_error(run_marsmith(*again, cwd=root), "error[archive-contradicts-itself]")


def test_an_unpacked_archive_and_what_is_none_cannot_be_signed(root: Path) -> None:
    shutil.unpack_archive(root / "model_store/tiny.mar", root / "unpacked.d", "zip")
    sign = run_marsmith("sign", "./unpacked.d", "--key", "team.key", cwd=root)
    assert_error(sign, "error[folder]")
    (root / "none.mar").write_text("none")
    assert_error(
        run_marsmith("sign", "none.mar", "--key", "team.key", cwd=root), "error[archive-damaged]"
    )


def test_a_key_that_is_none_is_an_error(root: Path) -> None:
    for key, said in (("no.key", "error[no-key]"), ("archives.toml", "error[bad-key]")):
        assert_error(run_marsmith("sign", "tiny", "--key", key, cwd=root), said, "marsmith new-key")


def test_serving_what_is_not_signed_is_refused_with_every_archive(root: Path) -> None:
    serve = ("serve", "--port", "0", "--require-signature", "team.pub")
    said = ("error[unsigned]", "tiny.mar", "error[findings]")
    assert_error(run_marsmith(*serve, cwd=root), *said)
    assert_error(run_marsmith(*serve, "--background", cwd=root), *said)
    assert_error(run_marsmith(*serve[:-1], "no.pub", cwd=root), "error[no-key]")
    assert_error(
        run_marsmith("serve", "tine", *serve[1:], cwd=root), "error[unknown-archive]", "'tiny'"
    )


# ---- bill


def test_a_bill_is_printed_or_written(root: Path) -> None:
    printed = run_marsmith("bill", "tiny", cwd=root)
    assert (printed.returncode, printed.stderr) == (0, "")
    bill = json.loads(printed.stdout)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    written = run_marsmith("bill", "model_store/tiny.mar", "--out", "out/bill.json", cwd=root)
    assert (written.returncode, written.stdout.split()[-1]) == (0, "out/bill.json")
    assert (root / "out/bill.json").read_text() == printed.stdout


def test_a_bill_of_what_is_no_archive_is_an_error(root: Path) -> None:
    assert_error(run_marsmith("bill", "archives.toml", cwd=root), "error[archive-damaged]")
    out = run_marsmith("bill", "tiny", "--out", "archives.toml/bill.json", cwd=root)
    assert_error(out, "error[file]", "--out")


# ---- lock


def test_a_lock_is_written_and_held(root: Path) -> None:
    assert_error(run_marsmith("build", "--locked", cwd=root), "marsmith build --lock")
    locked = run_marsmith("build", "--lock", cwd=root)
    assert (locked.returncode, locked.stderr) == (0, "")
    assert locked.stdout.startswith("unchanged  model_store/tiny.mar")
    assert locked.stdout.endswith("locked     archives.lock\n")
    assert run_marsmith("build", "--locked", "--force", cwd=root).returncode == 0
    (root / "extra/empty.txt").write_text("no longer")
    assert_error(
        run_marsmith("build", "--locked", cwd=root),
        "archives.lock:3: error",
        "error[findings]",
    )


@pytest.mark.parametrize("more", [["--locked"], ["tiny"]], ids=" ".join)
def test_a_lock_is_of_all_archives(root: Path, more: list[str]) -> None:
    result = run_marsmith("build", "--lock", *more, cwd=root)
    assert (result.returncode, result.stdout) == (2, "")
    assert "--lock" in result.stderr.splitlines()[-1]
    assert not (root / "archives.lock").exists()


def test_a_lock_written_with_json_keeps_the_output_json(root: Path) -> None:
    result = run_marsmith("build", "--lock", "--json", cwd=root)
    assert json.loads(result.stdout)[0]["name"] == "tiny"
