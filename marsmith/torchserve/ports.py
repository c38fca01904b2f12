"""Find free ports, and the processes that use the others."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

import psutil

from marsmith.core.errors import PortInUseError, ServerError
from marsmith.torchserve.properties import Address


def free_ports(count: int) -> int:
    """Return the first of `count` free ports in a row, below the system's ephemeral ports."""
    # Far from where a process with the next id begins, which may be looking at this moment, too.
    start = 20_000 + os.getpid() * 773 % 2_000 * 5
    for first in range(start, start + 2_000, count):
        if not any(_bind_error("127.0.0.1", port) for port in range(first, first + count)):
            return first
    raise ServerError("no free ports were found", "name one: --port N", code="no-free-port")


def require_free(address: Address) -> None:
    """Raise PortInUseError if a process uses the port, ServerError if it cannot be listened on."""
    error = _bind_error(address.host, address.port)
    if error is None:
        return
    if error.errno != errno.EADDRINUSE:
        raise ServerError(
            f"cannot listen at {address.url} ({address.role}): {error.strerror}",
            "correct config.properties, or choose other ports: --port N",
            code="address-unusable",
        )
    owner = _listener(address.port)
    raise PortInUseError(
        f"port {address.port} ({address.role}) is in use" + (f" by {owner}" if owner else ""),
        "stop that process, or choose other ports: --port N (0 takes free ones)",
    )


def own_addresses() -> list[str]:
    """Return the IP addresses by which other machines reach this one."""
    families = (socket.AF_INET, socket.AF_INET6)
    places = [one for all_ in psutil.net_if_addrs().values() for one in all_]
    found = [one.address.partition("%")[0] for one in places if one.family in families]
    reached = {one: ipaddress.ip_address(one) for one in found}
    return sorted(one for one, ip in reached.items() if not (ip.is_loopback or ip.is_link_local))


def _bind_error(host: str, port: int) -> OSError | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As Java's servers do: a port is free while its last connections are still closing.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
        return None


def _listener(port: int) -> str | None:
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return None
    for connection in connections:
        place = getattr(connection.laddr, "port", None)  # an empty tuple when unbound
        if connection.status == psutil.CONN_LISTEN and place == port and connection.pid:
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.Error:
                return None
    return None
