"""Which certificates a client trusts."""

from __future__ import annotations

import ssl
from pathlib import Path

from marsmith.core.errors import ClientError


def trusting(certificate: Path | None) -> ssl.SSLContext:
    """Trust only one certificate, and what it signed; with None, the system's certificates.

    Raises ClientError for a file that is not a certificate.
    """
    try:
        context = ssl.create_default_context(cafile=certificate)
    except OSError as error:  # ssl.SSLError is one
        raise ClientError(
            f"{certificate} is not a certificate: {error.strerror or error}",
            "name the PEM file of the server's certificate, or of its authority",
            code="bad-certificate",
        ) from error
    if certificate is not None:
        # The server's own is enough, even if its authority is not trusted.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def not_trusted(where: str) -> ClientError:
    """Return the error for a server whose certificate cannot be verified."""
    return ClientError(
        f"the certificate of {where} is not trusted",
        "pass the server's own (certificate=…); marsmith serve --tls makes it in .marsmith/tls",
        code="not-trusted",
    )
