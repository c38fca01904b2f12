"""Addresses that need no key: signed, each for one method and path, until a time."""

from __future__ import annotations

import base64
import hmac
import math
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

from marsmith.core.private_files import create_private
from marsmith.gateway.jobs.refusals import refusal


def kept_secret(path: Path, prefix: str = "") -> str:
    """Return the secret in a file, which is made at the first use. Raises OSError."""
    with suppress(FileNotFoundError):
        return path.read_text().strip()
    path.parent.mkdir(0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    with create_private(new) as file:
        file.write(f"{prefix}{base64.b64encode(secrets.token_bytes(32)).decode()}\n".encode())
    with suppress(FileExistsError):  # another gateway was faster
        path.hardlink_to(new)
    new.unlink()
    return path.read_text().strip()


def signed(secret: str, method: str, path: str, owner: str, seconds: int) -> str:
    """Return a path with a query that lets anyone use it for so many seconds."""
    expires = str(math.ceil(time.time()) + seconds)
    signature = _signature(secret, method, path, owner, expires)
    query = {"owner": owner, "expires": expires, "signature": signature}
    return f"{path}?{urlencode(query)}"


def signed_owner(secret: str, method: str, path: str, query: Mapping[str, str]) -> str:
    """Return whose address it is. Raises GatewayError: it is forged, or has expired."""
    owner, expires = query.get("owner", ""), query.get("expires", "")
    wanted = _signature(secret, method, path, owner, expires)
    if not hmac.compare_digest(wanted.encode(), query["signature"].encode()):
        raise refusal("address-forged")
    if time.time() > int(expires):
        raise refusal("address-expired")
    return owner


def _signature(secret: str, *parts: str) -> str:
    return hmac.new(secret.encode(), "\n".join(parts).encode(), "sha256").hexdigest()
