"""Key pairs for signatures: elliptic-curve keys in PEM files, made and read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marsmith.core.errors import SigningError

if TYPE_CHECKING:  # cryptography is loaded by those commands alone that need it
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

PASSWORD_VARIABLE = "MARSMITH_KEY_PASSWORD"  # noqa: S105 (where it is, not what it is)
_NEW_KEY = "make a pair: marsmith new-key PREFIX"
_CURVES = ("secp256r1", "secp384r1", "secp521r1")  # those that model-signing takes


def new_key_pair(prefix: Path, password: str | None = None) -> tuple[Path, Path]:
    """Make `PREFIX.key`, which its owner alone may read, and `PREFIX.pub`, to hand out.

    With a password the private key is encrypted by it. Raises SigningError if either file is there
    already or cannot be written; then neither is made.
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
    """Write a file that has these permissions from its first byte on, and never over another."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        message = f"{path} is there already, and a key that is lost cannot be made again"
        raise SigningError(message, "choose another prefix, or move that file away") from error
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise SigningError(message, "choose a prefix in a writable folder") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
    except BaseException:
        path.unlink()
        raise


def unlock(path: Path, password: Callable[[], str | None]) -> bytes | None:
    """Return the password of a private key; None if it needs none, and then nobody is asked.

    Raises SigningError unless the key can sign and the password opens it.
    """
    data = _read(path)
    if b"PRIVATE KEY-----" not in data and b"PUBLIC KEY-----" in data:
        raise SigningError(f"{path} is a public key", "sign with the private one of its pair")
    try:
        _load_private(path, data, None)
    except TypeError:  # what cryptography says of a key that is encrypted
        given = (password() or "").encode()
    else:
        return None
    if not given:
        hint = f"set {PASSWORD_VARIABLE}, or sign in a terminal, where you are asked"
        raise SigningError(f"{path} is encrypted", hint)
    _load_private(path, data, given)
    return given


def fingerprint(path: Path) -> str:
    """Return a public key's sha256 in hex, by which signatures name the key they were made with.

    Raises SigningError unless it is a key that can verify.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _read(path)
    if b"PRIVATE KEY-----" in data:
        hint = "verify with the public one of its pair, and hand this one to nobody"
        raise SigningError(f"{path} is a private key", hint)
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SigningError(f"{path} is not a public key in PEM", _NEW_KEY) from error
    return hashlib.sha256(_pem(_require_curve(path, key))).hexdigest()


def _load_private(path: Path, data: bytes, password: bytes | None) -> None:
    """Raise SigningError unless it is a key that can sign; TypeError if a password is missing."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(data, password)
    except (ValueError, UnsupportedAlgorithm) as error:
        if password:
            hint = f"type it again, or correct {PASSWORD_VARIABLE}"
            raise SigningError(f"this is not the password of {path}", hint) from error
        raise SigningError(f"{path} is not a private key in PEM", _NEW_KEY) from error
    _require_curve(path, key.public_key())


def _require_curve(path: Path, key: Any) -> EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    if isinstance(key, EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return key
    raise SigningError(f"{path} is no key of the curves P-256, P-384 or P-521", _NEW_KEY)


def _pem(key: EllipticCurvePublicKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise SigningError(f"there is no key {path}", _NEW_KEY) from error
    except OSError as error:
        message = f"the key {path} cannot be read: {error.strerror}"
        raise SigningError(message, "name a file that you may read") from error
