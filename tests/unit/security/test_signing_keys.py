"""Pairs that are made, and what is said of files that are no keys."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from marsmith.core.errors import SigningError
from marsmith.security.signing_keys import fingerprint, new_key_pair, unlock
from tests.codes import coded

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def nobody() -> str | None:
    raise AssertionError("the password was asked for")


def private_pem(
    key: Key,
) -> bytes:
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())


def public_pem(
    key: Key,
) -> bytes:
    return key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ---- new pairs


def test_a_new_pair_fits_together_and_is_named_after_its_prefix(tmp_path: Path) -> None:
    private, public = new_key_pair(tmp_path / "team.v1")
    assert (private.name, public.name) == ("team.v1.key", "team.v1.pub")
    key = form.load_pem_private_key(private.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"
    assert public_pem(key) == public.read_bytes()
    assert unlock(private, nobody) is None
    assert len(bytes.fromhex(fingerprint(public))) == 32


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_private_key_is_its_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        private, public = new_key_pair(tmp_path / "team")
    finally:
        os.umask(before)
    assert mode(private) == 0o600
    assert mode(public) == 0o644 & ~umask


def test_two_pairs_are_different(tmp_path: Path) -> None:
    pairs = [new_key_pair(tmp_path / name) for name in ("a", "b")]
    assert fingerprint(pairs[0][1]) != fingerprint(pairs[1][1])


@pytest.mark.parametrize("there", ["team.key", "team.pub"])
def test_no_file_is_ever_overwritten_and_no_half_pair_is_made(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious")
    with pytest.raises(SigningError, check=coded("key-exists")):
        new_key_pair(tmp_path / "team")
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "precious"


def test_a_link_that_leads_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "team.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SigningError, check=coded("key-exists")):
        new_key_pair(tmp_path / "team")
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SigningError, check=coded("not-written")):
        new_key_pair(tmp_path / "missing" / "team")


# ---- passwords


def test_an_encrypted_key_is_opened_by_its_password_alone(tmp_path: Path) -> None:
    private, _ = new_key_pair(tmp_path / "team", "grün & blau")
    assert b"ENCRYPTED" in private.read_bytes()
    assert unlock(private, lambda: "grün & blau") == "grün & blau".encode()
    with pytest.raises(SigningError, check=coded("wrong-password")) as caught:
        unlock(private, lambda: "red")
    assert "MARSMITH_KEY_PASSWORD" in caught.value.hint


@pytest.mark.parametrize("answer", [None, ""])
def test_without_a_password_an_encrypted_key_is_an_error_that_says_where_to_put_it(
    tmp_path: Path, answer: str | None
) -> None:
    private, _ = new_key_pair(tmp_path / "team", "secret")
    with pytest.raises(SigningError, check=coded("encrypted-key")) as caught:
        unlock(private, lambda: answer)
    assert "MARSMITH_KEY_PASSWORD" in caught.value.hint


def test_keys_that_openssl_made_are_taken_also_of_its_old_form(tmp_path: Path) -> None:
    key, public = tmp_path / "key.pem", tmp_path / "public.pem"
    for words in (
        f"openssl ecparam -name secp384r1 -genkey -noout -out {key}",
        f"openssl ec -in {key} -pubout -out {public}",
    ):
        subprocess.run(words.split(), check=True, capture_output=True, timeout=30)
    assert key.read_text().startswith("-----BEGIN EC PRIVATE KEY")
    assert unlock(key, nobody) is None
    assert fingerprint(public)


# ---- no keys


NOT_OURS: dict[str, Key] = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "another curve": ec.generate_private_key(ec.SECP256K1()),
}


@pytest.mark.parametrize("kind", NOT_OURS)
def test_keys_that_model_signing_does_not_take_are_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "key").write_bytes(private_pem(NOT_OURS[kind]))
    (tmp_path / "pub").write_bytes(public_pem(NOT_OURS[kind]))
    with pytest.raises(SigningError, check=coded("bad-key")):
        unlock(tmp_path / "key", nobody)
    with pytest.raises(SigningError, check=coded("bad-key")):
        fingerprint(tmp_path / "pub")


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"-----BEGIN PRIVATE KEY-----\nx\n"])
def test_what_is_no_private_key_is_called_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(SigningError, check=coded("bad-key")) as caught:
        unlock(tmp_path / "key", nobody)
    assert caught.value.hint == "make a pair: marsmith new-key PREFIX"


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"-----BEGIN PUBLIC KEY-----\nx\n"])
def test_what_is_no_public_key_is_called_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pub").write_bytes(content)
    with pytest.raises(SigningError, check=coded("bad-key")):
        fingerprint(tmp_path / "pub")


def test_the_wrong_key_of_a_pair_is_recognised(tmp_path: Path) -> None:
    private, public = new_key_pair(tmp_path / "team")
    with pytest.raises(SigningError, check=coded("wrong-key-half")):
        unlock(public, nobody)
    with pytest.raises(SigningError, check=coded("wrong-key-half")):
        fingerprint(private)


@pytest.mark.parametrize("read", [fingerprint, lambda path: unlock(path, nobody)])
def test_a_key_that_is_missing_or_a_folder_is_an_error(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    with pytest.raises(SigningError, check=coded("no-key")):
        read(tmp_path / "key")
    with pytest.raises(SigningError, check=coded("unreadable")):
        read(tmp_path)
