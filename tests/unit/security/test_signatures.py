"""What a signature proves, and what is said when it proves nothing."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from marsmith.archive.reader import Archive
from marsmith.building.building import build
from marsmith.core.errors import ArchiveError, SigningError
from marsmith.security.signatures import (
    claimed_key,
    sign,
    signature_file,
    signature_problems,
    verify,
)
from marsmith.security.signing_keys import fingerprint, new_key_pair
from tests.codes import coded
from tests.projects import write_files
from tests.unit.conftest import MakeProject

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two pairs of keys: ours and theirs."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        new_key_pair(folder / name)
    return folder


@pytest.fixture
def archive(project: MakeProject) -> Path:
    return build(project())[0].path


@pytest.fixture
def signed(archive: Path, keys: Path) -> Path:
    sign(archive, keys / "ours.key")
    return archive


def alter(path: Path, position: int = 100) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


# ---- what is signed


def test_a_signed_archive_verifies_by_the_public_key_of_the_pair(signed: Path, keys: Path) -> None:
    assert verify(signed, keys / "ours.pub") == fingerprint(keys / "ours.pub")
    assert claimed_key(signature_file(signed)) == fingerprint(keys / "ours.pub")


def test_the_signature_lies_beside_the_archive_and_nothing_else_does(
    archive: Path, keys: Path, temporary_folder: Path
) -> None:
    before = archive.read_bytes()
    assert sign(archive, keys / "ours.key") == archive.with_name("tiny.mar.sig")
    assert sorted(path.name for path in archive.parent.iterdir()) == ["tiny.mar", "tiny.mar.sig"]
    assert list(temporary_folder.iterdir()) == []
    assert archive.read_bytes() == before


def test_other_files_of_the_folder_neither_come_in_nor_matter(signed: Path, keys: Path) -> None:
    payload = json.loads(signature_file(signed).read_bytes())["dsseEnvelope"]["payload"]
    covered = json.loads(base64.b64decode(payload))["predicate"]
    assert [one["name"] for one in covered["resources"]] == ["."]
    assert "ignore_paths" not in covered["serialization"]
    write_files(signed.parent, {"other.mar": "x", ".git/config": "x", "more/deep.txt": "x"})
    verify(signed, keys / "ours.pub")


def test_signed_and_archive_may_move_and_be_renamed_together(
    signed: Path, keys: Path, tmp_path: Path
) -> None:
    for path in (signed, signature_file(signed)):
        shutil.copy(path, tmp_path / path.name.replace("tiny", "small"))
    verify(tmp_path / "small.mar", keys / "ours.pub")


def test_a_link_stands_for_its_file(signed: Path, keys: Path, tmp_path: Path) -> None:
    (tmp_path / "link.mar").symlink_to(signed)
    sign(tmp_path / "link.mar", keys / "ours.key")
    verify(tmp_path / "link.mar", keys / "ours.pub")


def test_signing_again_replaces_the_signature(signed: Path, keys: Path) -> None:
    sign(signed, keys / "theirs.key")
    verify(signed, keys / "theirs.pub")
    with pytest.raises(SigningError, check=coded("other-key")):
        verify(signed, keys / "ours.pub")


def test_an_encrypted_key_signs(archive: Path, tmp_path: Path) -> None:
    private, public = new_key_pair(tmp_path / "team", "secret")
    sign(archive, private, lambda: "secret")
    verify(archive, public)
    with pytest.raises(SigningError, check=coded("encrypted-key")):
        sign(archive, private)


def test_a_signature_that_cannot_be_written_leaves_the_old_one(
    signed: Path, keys: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import tempfile

    before = signature_file(signed).read_bytes()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(SigningError, check=coded("file-error")):
        sign(signed, keys / "theirs.key")
    assert signature_file(signed).read_bytes() == before


# ---- model-signing's own command


def model_signing(*words: str | Path) -> int:
    command = [sys.executable, "-m", "model_signing", *map(str, words)]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode


def test_model_signings_own_command_verifies_what_we_signed(signed: Path, keys: Path) -> None:
    options = ("--signature", signature_file(signed), "--public_key", keys / "ours.pub")
    assert model_signing("verify", "key", signed, *options) == 0


def test_what_model_signings_own_command_signed_verifies(archive: Path, keys: Path) -> None:
    options = ("--signature", signature_file(archive), "--private_key", keys / "ours.key")
    assert model_signing("sign", "key", archive, *options) == 0
    verify(archive, keys / "ours.pub")


@pytest.mark.parametrize("ignored", [[], ["--ignore-paths", "."]])
def test_a_signature_of_a_folder_is_none_of_an_archive(
    archive: Path, keys: Path, tmp_path: Path, ignored: list[str]
) -> None:
    """One that ignores all of its folder would hold for any archive, to model-signing alone."""
    folder = tmp_path / "folder"
    folder.mkdir()
    options = ("--signature", signature_file(archive), "--private_key", keys / "ours.key")
    subprocess.run(
        [sys.executable, "-m", "model_signing", "sign", "key", folder, *options, *ignored],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=60,
    )
    with pytest.raises(SigningError, check=coded("bad-signature")):
        verify(archive, keys / "ours.pub")


# ---- what does not hold


def test_an_unsigned_archive_says_how_to_sign_it(archive: Path, keys: Path) -> None:
    with pytest.raises(SigningError, check=coded("unsigned")) as caught:
        verify(archive, keys / "ours.pub")
    assert caught.value.hint == f"sign it: marsmith sign {archive} --key KEY"


@pytest.mark.parametrize("change", [alter, lambda path: path.write_bytes(b"")])
def test_an_altered_archive_is_called_so(
    signed: Path, keys: Path, change: Callable[[Path], None]
) -> None:
    change(signed)
    with pytest.raises(SigningError, check=coded("altered")):
        verify(signed, keys / "ours.pub")


def test_a_signature_by_another_key_names_both(signed: Path, keys: Path) -> None:
    with pytest.raises(SigningError, check=coded("other-key")) as caught:
        verify(signed, keys / "theirs.pub")
    for name in ("ours", "theirs"):
        assert fingerprint(keys / f"{name}.pub")[:16] in caught.value.message


def test_a_signature_that_only_claims_to_be_by_the_key_does_not_hold(
    signed: Path, keys: Path
) -> None:
    bundle = json.loads(signature_file(signed).read_bytes())
    claimed = fingerprint(keys / "theirs.pub")
    bundle["verificationMaterial"]["publicKey"]["hint"] = claimed
    signature_file(signed).write_text(json.dumps(bundle))
    with pytest.raises(SigningError, check=coded("bad-signature")):
        verify(signed, keys / "theirs.pub")


def test_the_signature_of_another_archive_does_not_hold(
    signed: Path, keys: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.mar"
    other.write_bytes(signed.read_bytes() + b"x")
    shutil.copy(signature_file(signed), signature_file(other))
    with pytest.raises(SigningError, check=coded("altered")):
        verify(other, keys / "ours.pub")


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"null", b"[]", b"{}", b"[" * 100_000, b'{"dsseEnvelope": {"payload": 1}}'],
    ids=["empty", "binary", "null", "list", "object", "deep", "number"],
)
def test_what_is_no_signature_is_called_damaged(signed: Path, keys: Path, content: bytes) -> None:
    signature_file(signed).write_bytes(content)
    with pytest.raises(SigningError, check=coded("bad-signature")):
        verify(signed, keys / "ours.pub")


def test_no_change_of_a_signature_raises_anything_else_or_lets_another_archive_in(
    signed: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signature = signature_file(signed)
    whole = signature.read_bytes()
    alter(signed)
    for position in range(0, len(whole), 7):
        for content in (whole[:position], whole[:position] + b"\x00" + whole[position + 1 :]):
            signature.write_bytes(content)
            with pytest.raises(SigningError):
                verify(signed, keys / "ours.pub")
    assert capsys.readouterr().out == ""


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value within JSON values."""
    keys = value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    for key in keys:
        yield (*place, key)
        yield from places(value[key], (*place, key))


def test_a_signature_without_one_of_its_parts_is_called_damaged(signed: Path, keys: Path) -> None:
    whole = json.loads(signature_file(signed).read_bytes())
    refused = set()
    for place in places(whole):
        changed = json.loads(json.dumps(whole))
        inner = changed
        for key in place[:-1]:
            inner = inner[key]
        del inner[place[-1]]
        signature_file(signed).write_text(json.dumps(changed))
        try:
            verify(signed, keys / "ours.pub")
        except SigningError as error:
            assert error.code == "bad-signature"
            refused.add(place[-1])
    assert refused >= {"mediaType", "hint", "payload", "payloadType", "signatures", "sig"}


# ---- what cannot be signed


@pytest.mark.parametrize("do", [sign, verify])
def test_a_folder_is_refused(
    tmp_path: Path, keys: Path, do: Callable[[Path, Path], object]
) -> None:
    with pytest.raises(ArchiveError, check=coded("folder")):
        do(tmp_path, keys / "ours.key")


@pytest.mark.parametrize("do", [sign, verify])
def test_an_archive_that_is_missing_says_how_to_build_it(
    tmp_path: Path, keys: Path, do: Callable[[Path, Path], object]
) -> None:
    with pytest.raises(ArchiveError, check=coded("no-archive")) as caught:
        do(tmp_path / "digits.mar", keys / "ours.key")
    assert caught.value.hint == "build it: marsmith build digits"


# ---- several at once


def test_all_archives_that_are_not_signed_are_named_at_once(
    signed: Path, keys: Path, tmp_path: Path
) -> None:
    unsigned = tmp_path / "unsigned.mar"
    shutil.copy(signed, unsigned)
    assert signature_problems([Archive(signed)], keys / "ours.pub") == []
    problems = signature_problems([Archive(signed), Archive(unsigned)] * 2, keys / "ours.pub")
    assert [finding.rule for finding in problems] == ["unsigned", "unsigned"]


def test_one_signed_archive_does_not_pass_for_another(
    signed: Path, keys: Path, tmp_path: Path
) -> None:
    for path in (signed, signature_file(signed)):
        shutil.copy(path, tmp_path / path.name.replace("tiny", "payments"))
    (problem,) = signature_problems([Archive(tmp_path / "payments.mar")], keys / "ours.pub")
    assert problem.rule == "signed-name"


def test_a_key_that_is_none_is_said_once(signed: Path, keys: Path) -> None:
    with pytest.raises(SigningError, check=coded("wrong-key-half")):
        signature_problems([Archive(signed), Archive(signed)], keys / "ours.key")
