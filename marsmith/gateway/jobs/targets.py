"""Where webhooks may go; no IO."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from marsmith.gateway.jobs.refusals import refusal
from marsmith.gateway.jobs.settings import JobSettings

_PORTS = {"https": 443, "http": 80}
_CHARACTERS = re.compile(r"[!-~]+")  # of a URL; other letters must be escaped, or in Punycode
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")


@dataclass(frozen=True)
class Target:
    """A URL that was parsed and checked once: what is checked is what we connect to."""

    url: str
    scheme: str
    host: str
    port: int
    path: str  # with the query
    private: bool  # its address need not be public

    @classmethod
    def of(cls, url: str, settings: JobSettings) -> Target:
        """Parse a URL. Raises GatewayError unless the settings allow it."""
        try:
            parts = urlsplit(url)
            usual = _PORTS[parts.scheme]
            host, port = parts.hostname or "", parts.port or usual
        except (ValueError, KeyError) as error:
            reason = "it is no URL of https or http"
            raise refusal("webhook-refused", url=url, reason=reason) from error
        names = {host, f"{host}:{port}"}
        private = _named(names, settings.private_webhook_hosts)
        if reason := _fault(url, parts, private or _named(names, settings.webhook_hosts), private):
            raise refusal("webhook-refused", url=url, reason=reason)
        path = f"{parts.path or '/'}{'?' * bool(parts.query)}{parts.query}"
        return cls(url, parts.scheme, host, port, path, private)


def _named(names: set[str], hosts: tuple[str, ...]) -> bool:
    return not names.isdisjoint(map(str.lower, hosts))


def _fault(url: str, parts: SplitResult, allowed: bool, private: bool) -> str:
    """Return what is wrong with a URL; empty if it is allowed."""
    if not _CHARACTERS.fullmatch(url):
        return "it has a character that is not of ASCII, or a space"
    if parts.scheme == "http" and not private:
        return "it is not https"
    if not allowed:
        return "its host is not allowed"
    return "it has a user or a fragment" if parts.username is not None or parts.fragment else ""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the Internet.

    Of IPv6, only global unicast: other ranges may lead to an IPv4 address behind a NAT64, and so do
    6to4 and Teredo.
    """
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if found not in _GLOBAL_UNICAST or found.sixtofour or found.teredo:
            return False
    return found.is_global and not found.is_multicast
