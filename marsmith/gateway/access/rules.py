"""Which hosts, origins and proxies a gateway knows; what a path must not contain; no IO."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from marsmith.core.errors import ProjectError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
ANY = ("0.0.0.0", "::")  # noqa: S104
_HOST = re.compile(
    r"(\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?\.?)(?::\d{1,5})?", re.ASCII
)
# Encoded slashes, backslashes and null bytes: a proxy may read another path than we do.
_AMBIGUOUS = re.compile(rb"%(?:2f|5c|00)", re.IGNORECASE)
_DEFAULT_BODY = 6_553_500  # bytes (ConfigManager.java)


@dataclass(frozen=True)
class AccessRules:
    """Who may send what to a gateway."""

    hosts: frozenset[str] = _LOOPBACK  # names by which it is asked for, without ports
    any_address: bool = False  # whether it may be asked for by any IP address
    origins: frozenset[str] = frozenset()  # sites whose pages may send requests
    proxies: tuple[Network, ...] = ()
    needs_keys: bool = False
    encrypted: bool = False
    max_body: int = _DEFAULT_BODY

    def knows_host(self, header: str) -> bool:
        """Whether a Host header names this gateway. Ports do not matter: no page can forge a name.

        A page of another site names that site, also where its name leads here (DNS rebinding).
        """
        found = _HOST.fullmatch(header.lower())
        if found is None:
            return False
        host = found[1].removesuffix(".")
        return host in self.hosts or (self.any_address and is_address(host))

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


OPEN_RULES = AccessRules()  # this machine alone


def access_rules(
    hosts: Iterable[str],
    *,
    allowed: Iterable[str] = (),
    origins: Iterable[str] = (),
    proxies: Iterable[str] = (),
    needs_keys: bool = False,
    encrypted: bool = False,
    properties: Mapping[str, str] | None = None,
) -> AccessRules:
    """Return the rules of a gateway that listens at `hosts`. Raises ProjectError."""
    bound = set(hosts)
    names = {f"[{one}]" if ":" in one else one.lower() for one in (*bound, *allowed)}
    for name in names:
        if not _HOST.fullmatch(name):
            raise ProjectError(
                f"{name!r} is not a host", "write a name: --allow-host example.org", code="bad-host"
            )
    return AccessRules(
        _LOOPBACK | names,
        any_address=not bound.isdisjoint(ANY),
        origins=frozenset(map(_origin, origins)),
        proxies=tuple(map(_network, proxies)),
        needs_keys=needs_keys,
        encrypted=encrypted,
        max_body=_max_body(properties or {}),
    )


def ambiguous_path(raw_path: bytes) -> bool:
    """Whether programs could read a path in different ways."""
    return b"%" in raw_path and _AMBIGUOUS.search(raw_path) is not None


def is_loopback(address: str) -> bool:
    """Whether an address is of this machine alone."""
    found = _address(address)
    return address == "localhost" if found is None else found.is_loopback


def is_address(host: str) -> bool:
    """Whether a host is an IP address, as it stands in a URL."""
    return _address(host.removeprefix("[").removesuffix("]")) is not None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A socket that takes IPv6 and IPv4 names IPv4 clients so.
    return getattr(found, "ipv4_mapped", None) or found


def same_origin(origin: str, scheme: str, host: str) -> bool:
    """Whether a page of `origin` asks its own server."""
    return origin == f"{scheme}://{host}"


def _origin(text: str) -> str:
    try:
        parts = urlsplit(text)
        whole = f"{parts.scheme}://{parts.netloc}".lower()
        good = parts.scheme in ("http", "https") and bool(_HOST.fullmatch(parts.netloc.lower()))
    except ValueError:
        good, whole = False, ""
    if not good or whole != text.lower():
        raise ProjectError(
            f"{text!r} is not an origin",
            "write scheme and host: --cors-origin https://example.org",
            code="bad-origin",
        )
    return whole


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ProjectError(
            f"{text!r} is no address or network of a proxy",
            "write one such as 10.0.0.5 or 10.0.0.0/24: --behind-proxy ADDRESS",
            code="bad-proxy",
        ) from error


def _max_body(properties: Mapping[str, str]) -> int:
    text = properties.get("max_request_size", str(_DEFAULT_BODY))
    if text.isascii() and text.isdigit() and int(text):
        return int(text)
    raise ProjectError(
        f"config.properties: max_request_size={text} is not a number of bytes",
        f"write one such as max_request_size={_DEFAULT_BODY}",
        code="bad-max-request-size",
    )
