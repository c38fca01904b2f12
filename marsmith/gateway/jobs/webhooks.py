"""Webhooks: what a receiver is told of a job, signed as Standard Webhooks says.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hmac
import socket
import ssl
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPSConnection
from threading import Timer

from marsmith import __version__
from marsmith.core.hashing import sha256_of
from marsmith.gateway.jobs.refusals import refusal
from marsmith.gateway.jobs.settings import JobSettings
from marsmith.gateway.jobs.targets import Target, is_public

PREFIX = "whsec_"  # of a secret
_PATIENCE = 10.0  # seconds to connect, and then for the whole exchange


class Webhooks:
    """Sends them to the hosts of the settings, and to no other."""

    def __init__(self, settings: JobSettings, secret: str, patience: float = _PATIENCE) -> None:
        """`secret` is what receivers check signatures with; `patience` is in seconds."""
        self._settings = settings
        self._key = base64.b64decode(secret.removeprefix(PREFIX))
        self._patience = patience

    def require_allowed(self, url: str) -> None:
        """Raise GatewayError unless a webhook may go there."""
        Target.of(url, self._settings)

    def send(self, url: str, name: str, body: bytes) -> int:
        """Send one; return the receiver's status. Raises OSError, HTTPException, GatewayError.

        `name` is unique to what is told. A redirect is not followed: its status is returned.
        """
        target = Target.of(url, self._settings)
        connection = self._connected(target)
        # A timeout of the socket is for each read: a slow receiver could hold us for ever.
        end = Timer(self._patience, _shut, (connection.sock,))
        end.start()
        try:
            if isinstance(connection.sock, ssl.SSLSocket):
                connection.sock.do_handshake()
            connection.request("POST", target.path, body, self.headers(name, body))
            return connection.getresponse().status
        finally:
            end.cancel()
            connection.close()

    def headers(self, name: str, body: bytes) -> dict[str, str]:
        """Return the headers of a webhook; its id is the same at each try."""
        id_, now = f"msg_{sha256_of(name.encode())[:32]}", str(int(time.time()))
        signed = hmac.digest(self._key, f"{id_}.{now}.".encode() + body, "sha256")
        return {
            "Content-Type": "application/json",
            "User-Agent": f"marsmith/{__version__}",
            "webhook-id": id_,
            "webhook-timestamp": now,
            "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
        }

    def _connected(self, target: Target) -> HTTPConnection:
        """Connect to an address that was checked: a name may lead elsewhere a moment later."""
        found = socket.create_connection((_address(target), target.port), self._patience)
        if target.scheme == "http":
            connection = HTTPConnection(target.host, target.port)
        else:
            context = ssl.create_default_context()
            connection = HTTPSConnection(target.host, target.port, context=context)
            found = context.wrap_socket(
                found, do_handshake_on_connect=False, server_hostname=target.host
            )
        connection.sock = found
        return connection


def _address(target: Target) -> str:
    """Return an address of a host; only a host that is named as private may have such a one."""
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = [str(one[4][0]) for one in found]
    if not target.private and not all(map(is_public, addresses)):
        raise refusal("webhook-refused", url=target.url, reason="its address is not public")
    return addresses[0]


def _shut(connection: socket.socket) -> None:
    """End a connection that another thread reads from."""
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # TLS has no say in it
