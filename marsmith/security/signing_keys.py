"""Key pairs for signatures: elliptic-curve keys in PEM files, made and read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marsmith.core.errors import SigningError
from marsmith.core.hashing import sha256_of

if TYPE_CHECKING:  # cryptography is slow to import
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

PASSWORD_VARIABLE = "MARSMITH_KEY_PASSWORD"  # noqa: S105 (its name)
_NEW_KEY = "make a pair: marsmith new-key PREFIX"
_CURVES = ("secp256r1", "secp384r1", "secp521r1")  # those that model-signing supports


def new_key_pair(prefix: Path, password: str | None = None) -> tuple[Path, Path]:
    """Make `PREFIX.key`, which only its owner can read, and `PREFIX.pub`, to hand out.

    With a password the private key is encrypted. Raises SigningError if either file exists or
    cannot be written; then neither is made.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    lock = form.BestAvailableEncryption(password.encode()) if password else form.NoEncryption()
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, lock)
    private, public = (prefix.parent / f"{prefix.name}.{kind}" for kind in ("key", "pub"))
    _create(private, secret, 0o600)
    try:
        _create(public, _pem(key.public_key()), 0o644)
    except BaseException:
        private.unlink()
        raise
    return private, public


def _create(path: Path, content: bytes, mode: int) -> None:
    """Write a file with these permissions from its first byte on; never replace one."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise SigningError(
            f"{path} already exists, and a lost key cannot be made again",
            "choose another prefix, or move that file away",
            code="key-exists",
        ) from error
    except OSError as error:
        raise SigningError(
            f"{path} cannot be written: {error.strerror}",
            "choose a prefix in a writable folder",
            code="not-written",
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
    except BaseException:
        path.unlink()
        raise


def unlock(path: Path, password: Callable[[], str | None]) -> bytes | None:
    """Return the password of a private key; None if it needs none: `password` is not called.

    Raises SigningError unless the key can sign and the password opens it.
    """
    data = _read(path)
    if b"PRIVATE KEY-----" not in data and b"PUBLIC KEY-----" in data:
        raise SigningError(
            f"{path} is a public key",
            "sign with the private key of its pair",
            code="wrong-key-half",
        )
    try:
        _load_private(path, data, None)
    except TypeError:  # the key is encrypted
        given = (password() or "").encode()
    else:
        return None
    if not given:
        raise SigningError(
            f"{path} is encrypted",
            f"set {PASSWORD_VARIABLE}, or sign in a terminal, which asks for the password",
            code="encrypted-key",
        )
    _load_private(path, data, given)
    return given


def fingerprint(path: Path) -> str:
    """Return a public key's sha256 in hex, by which signatures name their key.

    Raises SigningError unless it is a public key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _read(path)
    if b"PRIVATE KEY-----" in data:
        raise SigningError(
            f"{path} is a private key",
            "verify with the public key of its pair, and keep this one secret",
            code="wrong-key-half",
        )
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SigningError(
            f"{path} is not a public key in PEM", _NEW_KEY, code="bad-key"
        ) from error
    return sha256_of(_pem(_require_curve(path, key)))


def _load_private(path: Path, data: bytes, password: bytes | None) -> None:
    """Raise SigningError unless the key can sign, TypeError if it needs a password."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(data, password)
    except (ValueError, UnsupportedAlgorithm) as error:
        if password:
            raise SigningError(
                f"this is not the password of {path}",
                f"type it again, or correct {PASSWORD_VARIABLE}",
                code="wrong-password",
            ) from error
        raise SigningError(
            f"{path} is not a private key in PEM", _NEW_KEY, code="bad-key"
        ) from error
    _require_curve(path, key.public_key())


def _require_curve(path: Path, key: Any) -> EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    if isinstance(key, EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return key
    raise SigningError(
        f"{path} is not a key of the curves P-256, P-384 or P-521", _NEW_KEY, code="bad-key"
    )


def _pem(key: EllipticCurvePublicKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise SigningError(f"there is no key {path}", _NEW_KEY, code="no-key") from error
    except OSError as error:
        raise SigningError(
            f"the key {path} cannot be read: {error.strerror}",
            "name a file that you may read",
            code="unreadable",
        ) from error
