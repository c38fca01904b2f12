"""Webhooks: what a receiver is told of a job, signed as Standard Webhooks says.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hmac
import http.client
import ipaddress
import socket
import ssl
import time
from urllib.parse import SplitResult, urlsplit

from marsmith import __version__
from marsmith.core.hashing import sha256_of
from marsmith.gateway.jobs.refusals import refusal
from marsmith.gateway.jobs.settings import JobSettings

PREFIX = "whsec_"  # of a secret
_PATIENCE = 10.0  # seconds for a receiver
_PORTS = {"https": 443, "http": 80}


class Webhooks:
    """Sends them to the hosts of the settings, and to no other."""

    def __init__(self, settings: JobSettings, secret: str) -> None:
        """`secret` is what receivers check signatures with."""
        self._public = frozenset(settings.webhook_hosts)
        self._private = frozenset(settings.private_webhook_hosts)
        self._key = base64.b64decode(secret.removeprefix(PREFIX))

    def require_allowed(self, url: str) -> None:
        """Raise GatewayError unless a webhook may go there."""
        try:
            parts = urlsplit(url)
            names = {parts.hostname, f"{parts.hostname}:{_port(parts)}"}
        except (ValueError, KeyError) as error:
            raise refusal("webhook-refused", url=url, reason="it is no URL") from error
        reason = ""
        if parts.scheme == "http" and not names & self._private:
            reason = "it is not https"
        elif not names & (self._public | self._private):
            reason = "its host is not allowed"
        elif parts.username is not None or parts.fragment or not url.isprintable():
            reason = "it has a user, a fragment or a control character"
        if reason:
            raise refusal("webhook-refused", url=url, reason=reason)

    def send(self, url: str, folder: str, body: bytes) -> int:
        """Send one; return the receiver's status. Raises OSError, HTTPException, GatewayError.

        A redirect is not followed: its status is returned.
        """
        self.require_allowed(url)
        parts = urlsplit(url)
        connection = self._connection(url, parts)
        try:
            target = f"{parts.path or '/'}{'?' * bool(parts.query)}{parts.query}"
            connection.request("POST", target, body, self.headers(folder, body))
            return connection.getresponse().status
        finally:
            connection.close()

    def headers(self, folder: str, body: bytes) -> dict[str, str]:
        """Return the headers of a webhook; its id is the same at each try."""
        id_, now = f"msg_{sha256_of(folder.encode())[:32]}", str(int(time.time()))
        signed = hmac.digest(self._key, f"{id_}.{now}.".encode() + body, "sha256")
        return {
            "Content-Type": "application/json",
            "User-Agent": f"marsmith/{__version__}",
            "webhook-id": id_,
            "webhook-timestamp": now,
            "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
        }

    def _connection(self, url: str, parts: SplitResult) -> http.client.HTTPConnection:
        """Connect to an address that was checked: a name may lead elsewhere a moment later."""
        host, port = parts.hostname or "", _port(parts)
        named = bool({host, f"{host}:{port}"} & self._private)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        connection = kind(host, port, timeout=_PATIENCE)
        address = _address(url, host, port, private=named)
        found = socket.create_connection((address, port), _PATIENCE)
        if parts.scheme == "https":
            found = ssl.create_default_context().wrap_socket(found, server_hostname=host)
        connection.sock = found
        return connection


def _port(parts: SplitResult) -> int:
    return parts.port or _PORTS[parts.scheme]


def _address(url: str, host: str, port: int, *, private: bool) -> str:
    """Return an address of a host; only a host that is named as private may have such a one."""
    found = [str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not private and not all(_is_public(one) for one in found):
        raise refusal("webhook-refused", url=url, reason="its address is not public")
    return found[0]


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None) or found
    return bool(mapped.is_global and not mapped.is_multicast)
