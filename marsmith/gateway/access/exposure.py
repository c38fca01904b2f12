"""Whether a gateway may listen where it is asked to: with keys and TLS, unless for this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from marsmith.core.errors import ProjectError
from marsmith.gateway.access.key_store import KeyStore
from marsmith.gateway.access.rules import access_rules
from marsmith.gateway.observe.spans import require_tracing
from marsmith.gateway.options import GatewayOptions
from marsmith.project.project import Project
from marsmith.security.exposure_rules import with_safe_settings
from marsmith.security.hardening import Guard, certificate_of, with_tls, with_whole_paths
from marsmith.torchserve.properties import Address


def key_file(project: Project, named: Path | None = None) -> Path:
    """Return the file of a gateway's keys, which need not exist."""
    return named.absolute() if named else project.state_path("gateway") / "keys.json"


def guard_gateway(
    project: Project, options: GatewayOptions, values: dict[str, str], listeners: list[Address]
) -> Guard:
    """Make a gateway's configuration safe.

    Raises ProjectError if others could reach it without keys or unencrypted, or for options that
    nobody could follow; CertificateError for files that it could not serve with.
    """
    values = with_whole_paths(project, values)
    if options.tls:
        values |= with_tls(project, values)
    exposed = [place.url for place in listeners if not place.is_loopback]
    if exposed and not options.tls and not options.behind_proxy:
        raise ProjectError(
            f"other machines can reach {exposed[0]}, and nothing encrypts requests and keys",
            "add --tls; or --behind-proxy ADDRESS, with a proxy that encrypts",
            code="open-without-tls",
        )
    others = bool(exposed or options.behind_proxy)
    if others and not KeyStore(key_file(project, options.keys)).read():
        raise ProjectError(
            "other machines can reach the gateway, and there is no key to tell who may",
            "make one: marsmith gateway key add NAME --scope predict",
            code="open-without-keys",
        )
    needs_keys = others or options.secure
    access_rules([one.host for one in listeners], asdict(options), values, needs_keys=needs_keys)
    if options.otel:
        require_tracing()
    asks = {"disable_token_authorization": str(not needs_keys).lower()}
    values = with_safe_settings(values | asks)
    return Guard(values, certificate_of(project, values), ())
