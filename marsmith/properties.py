"""`config.properties` as data; no IO.

The keys are those of TorchServe's ConfigManager.java, the syntax that of java.util.Properties.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from marsmith.errors import ProjectError

CONFIG_FILE = "config.properties"

# A key ends at the first `=`, `:` or white space that no backslash protects.
_KEY_AND_VALUE = re.compile(
    r"(?P<key>(?:\\.|[^\\=: \t\f])*)[ \t\f]*(?:[=:][ \t\f]*)?(?P<value>.*)$", re.DOTALL
)

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
    """Read a properties file's text as java.util.Properties.load does."""
    values: dict[str, str] = {}
    for line in _logical_lines(text):
        match = _KEY_AND_VALUE.match(line)
        if match:
            values[_unescape(match["key"])] = _unescape(match["value"])
    return values


def _logical_lines(text: str) -> Iterator[str]:
    """Yield lines without comments; one that ends in an odd number of backslashes goes on."""
    pending = ""
    for line in re.split(r"\r\n|\n|\r", text):
        line = line.lstrip(" \t\f")
        if not pending and (not line or line[0] in "#!"):
            continue
        backslashes = len(line) - len(line.rstrip("\\"))
        if backslashes % 2:
            pending += line[:-1]
        else:
            yield pending + line
            pending = ""
    if pending:
        yield pending


def _unescape(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] == "u" and len(code) == 5:
            return chr(int(code[1:], 16))
        return {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}.get(code, code)

    return re.sub(r"\\(u[0-9a-fA-F]{4}|.)", plain, text)


def format_properties(values: dict[str, str]) -> str:
    """Write values as a properties file that reads back the same; ASCII alone."""
    return "".join(f"{_escape(key)}={_escape(value)}\n" for key, value in values.items())


def _escape(text: str) -> str:
    escaped = re.sub(r"[\\ \t\f=:#!]", r"\\\g<0>", text).replace("\n", "\\n").replace("\r", "\\r")
    units = (escaped[i].encode("utf-16-be") for i in range(len(escaped)))
    return "".join(
        unit.decode("utf-16-be")
        if unit < b"\x00\x7f"
        else "".join(f"\\u{unit[i : i + 2].hex()}" for i in range(0, len(unit), 2))
        for unit in units
    )


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
    if not port.isdecimal() or not 0 < int(port) < 65536:
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
    # TorchServe takes no IPv6 address (Connector.java).
    if parts.scheme != "http" or not parts.hostname or ":" in parts.hostname or port is None:
        raise ProjectError(
            f"{CONFIG_FILE}: {key}={value} is not an address that marsmith can serve on",
            f"write {key}=http://127.0.0.1:PORT",
        )
    return Address(role, parts.scheme, parts.hostname, port)
