"""Which hosts, origins and proxies a gateway knows; no IO."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from marsmith.core.errors import ProjectError

_Value = TypeVar("_Value")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_ANY = {"0.0.0.0", "::"}  # noqa: S104
_NAME = r"\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?"
_HOST = re.compile(rf"({_NAME})\.?(?::\d{{1,5}})?", re.ASCII)
_ORIGIN = re.compile(rf"https?://(?:{_NAME})(?::\d{{1,5}})?", re.ASCII)
_NUMBER = re.compile(r"[1-9]\d{0,15}", re.ASCII)
_MAX_BODY = 6_553_500  # bytes (ConfigManager.java)


@dataclass(frozen=True)
class AccessRules:
    """Who may send what to a gateway."""

    hosts: frozenset[str] = _LOOPBACK  # names by which it is asked for, without ports
    any_address: bool = False  # whether it may be asked for by any IP address
    origins: frozenset[str] = frozenset()  # sites whose pages may ask models
    proxies: tuple[Network, ...] = ()
    needs_keys: bool = False
    encrypted: bool = False
    max_body: int = _MAX_BODY
    routes: frozenset[str] = frozenset()  # paths of [gateway.routes], which ask models
    redirects: frozenset[str] = frozenset()  # paths of [gateway.redirects], which are open

    def knows_host(self, header: str) -> bool:
        """Whether a Host header names this gateway, at any port.

        A page of another site names that site, also where its name leads here (DNS rebinding).
        """
        found = _HOST.fullmatch(header.lower())
        if found is None:
            return False
        host = found[1]
        return host in self.hosts or (self.any_address and _address(host.strip("[]")) is not None)

    def trusts(self, peer: str) -> bool:
        """Whether a peer is a proxy of ours, so that what it tells of its client counts."""
        address = _address(peer) if self.proxies else None
        return address is not None and any(address in network for network in self.proxies)

    def client_of(self, peer: str, forwarded: str) -> str:
        """Return a client's address: the last of X-Forwarded-For that is none of our proxies.

        What stands before that, the client may have made up.
        """
        client = peer
        for part in reversed(forwarded.split(",") if forwarded else []):
            if not self.trusts(client):
                break
            client = part.strip()
        return client


def access_rules(
    bound: Iterable[str],
    options: Mapping[str, Iterable[str]],
    properties: Mapping[str, str],
    *,
    needs_keys: bool,
) -> AccessRules:
    """Return the rules of a gateway that listens at `bound`. Raises ProjectError.

    `options` are those of GatewayOptions, `properties` those of config.properties.
    """
    places = set(bound)
    named = [*(f"[{one}]" if ":" in one else one for one in places), *options["allow_hosts"]]
    size = properties.get("max_request_size", str(_MAX_BODY))
    host, origin, number = (partial(_matching, one) for one in (_HOST, _ORIGIN, _NUMBER))
    network = ipaddress.ip_network
    return AccessRules(
        _LOOPBACK | {_read(host, one, "--allow-host") for one in named},
        any_address=bool(places & _ANY),
        origins=frozenset(_read(origin, one, "--cors-origin") for one in options["cors_origins"]),
        proxies=tuple(_read(network, one, "--behind-proxy") for one in options["behind_proxy"]),
        needs_keys=needs_keys,
        encrypted=properties["inference_address"].startswith("https:"),
        max_body=int(_read(number, size, "max_request_size")),
    )


def is_loopback(address: str) -> bool:
    """Whether an address is of this machine alone."""
    found = _address(address)
    return found is not None and found.is_loopback


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A socket that takes IPv6 and IPv4 names IPv4 clients so.
    return getattr(found, "ipv4_mapped", None) or found


def _matching(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text.lower()):
        raise ValueError
    return text.lower()


def _read(reader: Callable[[str], _Value], text: str, option: str) -> _Value:
    try:
        return reader(text)
    except ValueError as error:
        raise ProjectError(
            f"{option} cannot be {text!r}",
            "write such as: --allow-host example.org, --cors-origin https://example.org, "
            "--behind-proxy 10.0.0.0/24, max_request_size=33554432",
            code="gateway-option",
        ) from error
