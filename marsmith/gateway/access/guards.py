"""What stands before the faces of a gateway, and is shared by all of its listeners."""

from __future__ import annotations

import json
import resource
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from starlette.types import ASGIApp

from marsmith.gateway.access.admitted import admitted
from marsmith.gateway.access.connection_guard import (
    ConnectionGuard,
    ConnectionLimits,
    GuardedConfig,
)
from marsmith.gateway.access.gate import Gate
from marsmith.gateway.access.key_store import KeyRing, KeyStore
from marsmith.gateway.access.keys import Key, Scope, digest_of
from marsmith.gateway.access.rules import access_rules
from marsmith.gateway.backend import Backend
from marsmith.gateway.observe.access_log import AccessLog
from marsmith.gateway.observe.observe import Observer
from marsmith.gateway.observe.spans import Spans
from marsmith.gateway.served import Settings
from marsmith.gateway.server import ACCESS_LOG
from marsmith.security.exposure_rules import asks_for_tokens
from marsmith.server.process import KEY_FILE

DRAIN = 30  # seconds for open requests to end
_DEVELOPMENT = (".marsmith", "tls", "development.pem")
_BACKLOG = 1024
_SPARE_FILES = 256  # for workers, archives and logs


@dataclass
class Guards:
    """Who is let in, and what is counted, logged and traced. By default: this machine alone."""

    gate: Gate = field(default_factory=Gate)
    observer: Observer = field(default_factory=Observer)

    def admitted(self, backend: Backend) -> Backend:
        """Return a back end as faces see it."""
        return admitted(backend, self.observer.metrics, needs_keys=self.gate.rules.needs_keys)


def guards_of(settings: Settings, bound: Iterable[str]) -> Guards:
    """Return those of a gateway that listens at the hosts `bound`."""
    needs_keys = asks_for_tokens(settings.properties)
    rules = access_rules(bound, settings.options, settings.properties, needs_keys=needs_keys)
    routes, redirects = (
        frozenset(settings.gateway.get(one, ())) for one in ("routes", "redirects")
    )
    rules = replace(rules, routes=routes, redirects=redirects)
    # The key of Marsmith's own commands, which the supervisor has made.
    own = json.loads((Path(settings.folder) / KEY_FILE).read_bytes())["management"]["key"]
    commands = Key("marsmith", "marsmith", digest_of(own), (Scope("manage"),), 0.0)
    keys = KeyRing(KeyStore(Path(settings.options["keys"])), commands)
    log = AccessLog(Path(settings.log_folder) / ACCESS_LOG)
    return Guards(Gate(rules, keys), Observer(log, Spans() if settings.options["otel"] else None))


def server_config(app: ASGIApp, guards: Guards, properties: Mapping[str, str]) -> GuardedConfig:
    """Return uvicorn's configuration of a listener; with an https address, all are encrypted."""
    context = tls_context(properties)
    limits = _limits()
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
        proxy_headers=False,  # it would believe every process of this machine: let_in knows whom
        timeout_graceful_shutdown=DRAIN,
        timeout_keep_alive=limits.idle_time,
        backlog=_BACKLOG,
        ssl_context_factory=None if context is None else lambda _config, _default: context,
    )
    config.limits, config.refused = limits, guards.observer.metrics.refused
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


def own_certificate(properties: Mapping[str, str]) -> str:
    """Return the gateway's development certificate, as its project names it; empty for others.

    Programs must be told to trust it.
    """
    parts = Path(properties.get("certificate_file", "")).parts[-3:]
    is_used = properties["inference_address"].startswith("https:")
    return "/".join(parts) if is_used and parts == _DEVELOPMENT else ""


def _limits() -> ConnectionLimits:
    limits = ConnectionLimits()
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)  # -1: no limit
    most = limits.connections if files < 0 else max(64, files - _SPARE_FILES)
    return replace(limits, connections=min(limits.connections, most))
