"""TLS certificates: which of them TorchServe can serve with.

TorchServe reads RSA keys alone and offers ECDHE with RSA over TLS 1.2 (ConfigManager.java).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from marsmith.errors import CertificateError

if TYPE_CHECKING:  # cryptography is loaded by those commands alone that need it
    from cryptography.x509 import Certificate

_NEW = "make a new one: marsmith certificate"


def require_usable(key_file: Path, certificate_file: Path, hosts: Iterable[str]) -> None:
    """Raise CertificateError unless TorchServe can serve with these files, and `hosts` accept them.

    Without this, TorchServe would end with a Java exception, or answer nobody.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    certificate = _load(certificate_file)
    if _mode(key_file) & 0o077:
        message = f"others may read the private key {key_file}"
        raise CertificateError(message, f"chmod 600 {key_file}")
    try:
        key = load_pem_private_key(_read(key_file), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        message = f"{key_file} is no private key in PEM, or is encrypted"
        raise CertificateError(message, _NEW) from error
    if not isinstance(key, RSAPrivateKey):
        raise CertificateError(f"{key_file} is no RSA key, and TorchServe takes no other", _NEW)
    if key.public_key() != certificate.public_key():
        message = f"{key_file} is not the private key of {certificate_file}"
        raise CertificateError(message, "name a pair: private_key_file and certificate_file")
    _require_current(certificate_file, certificate)
    if missing := sorted(set(hosts) - _names(certificate)):
        message = f"{certificate_file} is not valid for {missing[0]}"
        raise CertificateError(message, f"{_NEW} --host {missing[0]}")


def still_good(key_file: Path, certificate_file: Path, hosts: Iterable[str]) -> bool:
    """Whether a development certificate can serve `hosts` for another week at least."""
    try:
        require_usable(key_file, certificate_file, hosts)
        left = _load(certificate_file).not_valid_after_utc - datetime.now(timezone.utc)
    except CertificateError:
        return False
    return left > timedelta(days=7)


def _require_current(path: Path, certificate: Certificate) -> None:
    now = datetime.now(timezone.utc)
    if now > certificate.not_valid_after_utc:
        raise CertificateError(f"{path} ended on {certificate.not_valid_after_utc:%Y-%m-%d}", _NEW)
    if now < certificate.not_valid_before_utc:
        start = f"{certificate.not_valid_before_utc:%Y-%m-%d}"
        raise CertificateError(f"{path} is not valid before {start}", "set the clock, or wait")


def _names(certificate: Certificate) -> set[str]:
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    names = found.get_values_for_type(x509.DNSName)
    return {*names, *map(str, found.get_values_for_type(x509.IPAddress))}


def _load(path: Path) -> Certificate:
    from cryptography.x509 import load_pem_x509_certificate

    try:
        return load_pem_x509_certificate(_read(path))
    except ValueError as error:
        raise CertificateError(f"{path} is no certificate in PEM", _NEW) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path} cannot be read: {error.strerror}", _NEW) from error


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError as error:
        raise CertificateError(f"{path} cannot be read: {error.strerror}", _NEW) from error
