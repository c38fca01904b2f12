"""`config.properties` as data; no IO.

The keys are those of TorchServe's ConfigManager.java, the syntax that of java.util.Properties.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from marsmith.errors import ProjectError

CONFIG_FILE = "config.properties"

# Where TorchServe listens if config.properties does not say (ConfigManager.java).
_DEFAULTS = {
    "inference_address": "http://127.0.0.1:8080",
    "management_address": "http://127.0.0.1:8081",
    "metrics_address": "http://127.0.0.1:8082",
    "grpc_inference_address": "127.0.0.1",
    "grpc_inference_port": "7070",
    "grpc_management_address": "127.0.0.1",
    "grpc_management_port": "7071",
}


@dataclass(frozen=True)
class Address:
    """One place where TorchServe listens; `role` is what a person calls it."""

    role: str
    scheme: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """`scheme://host:port`, with brackets around an IPv6 host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_properties(text: str) -> dict[str, str]:
    """Read `key=value` lines; `#` and `!` start comments, a final backslash continues a line."""
    values: dict[str, str] = {}
    for line in text.replace("\\\n", "").splitlines():
        line = line.strip()
        if line and line[0] not in "#!":
            key, _, value = line.partition("=")
            values[key.strip()] = value.strip()
    return values


def format_properties(values: dict[str, str]) -> str:
    """Write values as a properties file that reads back the same."""
    return "".join(f"{key}={value}\n".replace("\\", "\\\\") for key, value in values.items())


def addresses(values: dict[str, str]) -> tuple[Address, ...]:
    """Return where TorchServe will listen: inference, management, metrics and two for gRPC.

    Raises ProjectError for an address that is no http URL with a port.
    """
    merged = _DEFAULTS | values
    http = [_http_address(role, merged) for role in ("inference", "management", "metrics")]
    grpc = [_grpc_address(role, merged) for role in ("inference", "management")]
    return (*http, *grpc)


def with_ports(values: dict[str, str], first: int) -> dict[str, str]:
    """Return `values` listening on `first` to `first + 4`, in the order of `addresses`."""
    moved = {}
    for offset, address in enumerate(addresses(values)):
        if address.scheme == "http":
            url = replace(address, port=first + offset).url
            moved[f"{address.role}_address"] = url
        else:
            moved[f"{address.role.replace('gRPC ', 'grpc_')}_port"] = str(first + offset)
    return values | moved


def _grpc_address(role: str, values: dict[str, str]) -> Address:
    port = values[f"grpc_{role}_port"]
    if not port.isdecimal():
        raise ProjectError(
            f"{CONFIG_FILE}: grpc_{role}_port={port} is no port", f"write grpc_{role}_port=7070"
        )
    return Address(f"gRPC {role}", "grpc", values[f"grpc_{role}_address"], int(port))


def _http_address(role: str, values: dict[str, str]) -> Address:
    key = f"{role}_address"
    value = values[key]
    parts = urlsplit(value)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "http" or not parts.hostname or port is None:
        raise ProjectError(
            f"{CONFIG_FILE}: {key}={value} is not an address that marsmith can serve on",
            f"write {key}=http://127.0.0.1:PORT",
        )
    return Address(role, parts.scheme, parts.hostname, port)
