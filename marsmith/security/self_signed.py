"""A self-signed TLS certificate with its private key, for development."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from marsmith.core.errors import CertificateError

if TYPE_CHECKING:  # cryptography is slow to import
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.x509 import Certificate, GeneralName

DEFAULT_DAYS = 90
_OWN_HOSTS = ("localhost", "127.0.0.1")


def new_certificate(
    prefix: Path, hosts: Iterable[str] = (), days: int = DEFAULT_DAYS
) -> tuple[Path, Path]:
    """Make `PREFIX.key`, which only its owner can read, and the self-signed `PREFIX.pem`.

    It is valid for this machine's own names, for `hosts` and for so many days; existing files are
    replaced. Raises CertificateError if they cannot be written.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    certificate = _self_signed(key, tuple(dict.fromkeys((*_OWN_HOSTS, *hosts))), days)
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    private, public = (prefix.parent / f"{prefix.name}.{kind}" for kind in ("key", "pem"))
    _write(private, secret, 0o600)
    _write(public, certificate.public_bytes(form.Encoding.PEM), 0o644)
    return private, public


def _self_signed(key: RSAPrivateKey, hosts: tuple[str, ...], days: int) -> Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "marsmith, for development")])
    now = datetime.now(timezone.utc)
    public = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))  # for the clocks of other machines
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(map(_general_name, hosts)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def _general_name(host: str) -> GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file with these permissions from its first byte on."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        temporary.replace(path)
    except OSError as error:
        raise CertificateError(
            f"{path} cannot be written: {error.strerror}",
            "choose a writable place: --out PREFIX",
            code="not-written",
        ) from error
