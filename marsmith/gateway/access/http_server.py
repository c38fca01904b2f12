"""uvicorn's configuration for one listener: limits of connections, TLS, nothing of its own logs."""

from __future__ import annotations

import resource
import ssl
from collections.abc import Mapping
from dataclasses import replace

from starlette.types import ASGIApp

from marsmith.gateway.access.connection_guard import (
    ConnectionGuard,
    ConnectionLimits,
    GuardedConfig,
)
from marsmith.gateway.access.guards import Guards

DRAIN = 30  # seconds for open requests to end
_BACKLOG = 1024
_SPARE_FILES = 256  # for workers, archives and logs


def server_config(app: ASGIApp, guards: Guards, properties: Mapping[str, str]) -> GuardedConfig:
    """Return it; with an https address, all listeners are encrypted."""
    context = tls_context(properties)
    config = GuardedConfig(
        app,
        http=ConnectionGuard,
        ws="none",
        loop="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # warnings tell of each malformed request: metrics count them
        access_log=False,
        server_header=False,
        proxy_headers=False,  # it would believe every process of this machine: access.py knows whom
        timeout_graceful_shutdown=DRAIN,
        backlog=_BACKLOG,
        ssl_context_factory=None if context is None else lambda _config, _default: context,
    )
    config.limits = _limits()
    config.timeout_keep_alive = config.limits.idle_time
    config.refused = guards.metrics.refused
    return config


def tls_context(properties: Mapping[str, str]) -> ssl.SSLContext | None:
    """Return the TLS of a gateway: 1.2 or 1.3; None if its addresses are not encrypted."""
    if not properties["inference_address"].startswith("https:"):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(properties["certificate_file"], properties["private_key_file"])
    context.set_alpn_protocols(["http/1.1"])
    return context


def _limits() -> ConnectionLimits:
    limits = ConnectionLimits()
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = limits.connections if files == resource.RLIM_INFINITY else files - _SPARE_FILES
    return replace(limits, connections=max(64, min(limits.connections, most)))
