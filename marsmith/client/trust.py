"""Which certificate a client trusts, and what it says of one that it does not."""

from __future__ import annotations

import ssl
from pathlib import Path

from marsmith.core.errors import ClientError


def trusting(certificate: Path | None) -> ssl.SSLContext:
    """Trust one certificate, and what it signed, alone; None trusts what the system does.

    Raises ClientError for a file that is no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=certificate)
    except OSError as error:  # ssl.SSLError is one
        raise ClientError(
            f"{certificate} is no certificate to trust: {error.strerror or error}",
            "name the PEM file of the server's certificate, or of who signed it",
        ) from error
    if certificate is not None:
        # A server's own is enough, also where an authority signed it that is not trusted itself.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def not_trusted(where: str) -> ClientError:
    """Return the error for a server whose certificate cannot be verified."""
    return ClientError(
        f"the certificate that {where} shows is not trusted",
        "name the server's own (certificate=…); marsmith serve --tls makes it in .marsmith/tls",
    )
