"""TLS certificates: whether TorchServe can serve with one.

TorchServe reads only RSA keys and offers ECDHE with RSA over TLS 1.2 (ConfigManager.java).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from marsmith.core.errors import CertificateError

if TYPE_CHECKING:  # cryptography is slow to import
    from cryptography.x509 import Certificate

_NEW = "make a new one: marsmith certificate"


def require_usable(key_file: Path, certificate_file: Path, hosts: Iterable[str]) -> None:
    """Raise CertificateError unless TorchServe can serve `hosts` with these files.

    Otherwise TorchServe would end with a Java exception, or refuse every connection.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    certificate = _load(certificate_file)
    try:
        key = load_pem_private_key(_read_private(key_file), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(
            f"{key_file} is not a private key in PEM, or is encrypted", _NEW, code="bad-tls-key"
        ) from error
    if not isinstance(key, RSAPrivateKey):
        raise CertificateError(
            f"{key_file} is not an RSA key, which TorchServe needs", _NEW, code="not-rsa"
        )
    if key.public_key() != certificate.public_key():
        raise CertificateError(
            f"{key_file} is not the private key of {certificate_file}",
            "name a pair: private_key_file and certificate_file",
            code="not-a-pair",
        )
    _require_fit(certificate_file, certificate, hosts)


def keystore_certificate(keystore: Path, password: str, hosts: Iterable[str]) -> bytes:
    """Return the certificate of a PKCS#12 keystore, in PEM.

    Raises CertificateError unless TorchServe can serve `hosts` with it.
    """
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates

    try:
        key, certificate, _ = load_key_and_certificates(_read_private(keystore), password.encode())
    except ValueError as error:
        raise CertificateError(
            f"{keystore} is not a PKCS#12 keystore, or keystore_pass is wrong",
            "correct keystore_pass, or name PEM files instead",
            code="bad-keystore",
        ) from error
    if key is None or certificate is None:
        raise CertificateError(
            f"{keystore} has no private key with its certificate",
            "name another, or PEM files: private_key_file",
            code="bad-keystore",
        )
    _require_fit(keystore, certificate, hosts)
    return certificate.public_bytes(Encoding.PEM)


def _require_fit(path: Path, certificate: Certificate, hosts: Iterable[str]) -> None:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    if not isinstance(certificate.public_key(), RSAPublicKey):
        raise CertificateError(
            f"{path} is not for an RSA key, which TorchServe needs", _NEW, code="not-rsa"
        )
    _require_current(path, certificate)
    names = _names(certificate)
    for host in sorted(hosts):
        if host not in names and f"*.{host.partition('.')[2]}" not in names:
            raise CertificateError(
                f"{path} is not valid for {host}", f"{_NEW} --host {host}", code="other-host"
            )


def still_good(key_file: Path, certificate_file: Path, hosts: Iterable[str]) -> bool:
    """Whether a development certificate can serve `hosts` for at least another week."""
    try:
        require_usable(key_file, certificate_file, hosts)
        left = _load(certificate_file).not_valid_after_utc - datetime.now(timezone.utc)
    except CertificateError:
        return False
    return left > timedelta(days=7)


def _require_current(path: Path, certificate: Certificate) -> None:
    now = datetime.now(timezone.utc)
    if now > certificate.not_valid_after_utc:
        end = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        raise CertificateError(f"{path} expired on {end}", _NEW, code="expired")
    if now < certificate.not_valid_before_utc:
        start = f"{certificate.not_valid_before_utc:%Y-%m-%d}"
        raise CertificateError(
            f"{path} is not valid before {start}", "set the clock, or wait", code="not-yet-valid"
        )


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
        raise CertificateError(
            f"{path} is not a certificate in PEM", _NEW, code="bad-certificate"
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(
            f"{path} cannot be read: {error.strerror}", _NEW, code="unreadable"
        ) from error


def _read_private(path: Path) -> bytes:
    content = _read(path)
    if path.stat().st_mode & 0o077:
        raise CertificateError(
            f"other users can read the private key {path}",
            f"chmod 600 {path}",
            code="readable-by-others",
        )
    return content
