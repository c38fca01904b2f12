"""TLS certificates: which of them TorchServe can serve with.

TorchServe reads RSA keys alone and offers ECDHE with RSA over TLS 1.2 (ConfigManager.java).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from marsmith.core.errors import CertificateError

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
    try:
        key = load_pem_private_key(_read_private(key_file), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        message = f"{key_file} is no private key in PEM, or is encrypted"
        raise CertificateError(message, _NEW) from error
    if not isinstance(key, RSAPrivateKey):
        raise CertificateError(f"{key_file} is no RSA key, and TorchServe takes no other", _NEW)
    if key.public_key() != certificate.public_key():
        message = f"{key_file} is not the private key of {certificate_file}"
        raise CertificateError(message, "name a pair: private_key_file and certificate_file")
    _require_fit(certificate_file, certificate, hosts)


def keystore_certificate(keystore: Path, password: str, hosts: Iterable[str]) -> bytes:
    """Return the certificate of a PKCS#12 keystore, in PEM.

    Raises CertificateError unless TorchServe can serve with it, and `hosts` accept it.
    """
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates

    try:
        key, certificate, _ = load_key_and_certificates(_read_private(keystore), password.encode())
    except ValueError as error:
        message = f"{keystore} is no PKCS#12 keystore, or keystore_pass does not open it"
        raise CertificateError(
            message, "correct keystore_pass, or name PEM files instead"
        ) from error
    if key is None or certificate is None:
        message = f"{keystore} holds no private key with its certificate"
        raise CertificateError(message, "name another, or PEM files: private_key_file")
    _require_fit(keystore, certificate, hosts)
    return certificate.public_bytes(Encoding.PEM)


def _require_fit(path: Path, certificate: Certificate, hosts: Iterable[str]) -> None:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    if not isinstance(certificate.public_key(), RSAPublicKey):
        raise CertificateError(f"{path} has no RSA key, and TorchServe takes no other", _NEW)
    _require_current(path, certificate)
    names = _names(certificate)
    for host in sorted(hosts):
        if host not in names and f"*.{host.partition('.')[2]}" not in names:
            raise CertificateError(f"{path} is not valid for {host}", f"{_NEW} --host {host}")


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


def _read_private(path: Path) -> bytes:
    content = _read(path)
    if path.stat().st_mode & 0o077:
        raise CertificateError(f"others may read the private key {path}", f"chmod 600 {path}")
    return content
