"""What stands before the faces of a gateway, and is shared by all of its listeners."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from marsmith.gateway.access.access_log import AccessLog
from marsmith.gateway.access.key_store import KeyRing, KeyStore
from marsmith.gateway.access.keys import Key, Scope, digest_of
from marsmith.gateway.access.metrics import Metrics
from marsmith.gateway.access.rules import OPEN_RULES, AccessRules, access_rules
from marsmith.gateway.access.spans import Spans
from marsmith.gateway.served import Settings
from marsmith.gateway.server import ACCESS_LOG
from marsmith.security.exposure_rules import asks_for_tokens
from marsmith.server.process import KEY_FILE


@dataclass
class Guards:
    """Who is let in, and what is counted, logged and traced. By default: this machine alone."""

    rules: AccessRules = OPEN_RULES
    keys: KeyRing = field(default_factory=KeyRing)
    metrics: Metrics = field(default_factory=Metrics)
    log: AccessLog | None = None
    spans: Spans | None = None

    def close(self) -> None:
        """Write and send what waits."""
        if self.log is not None:
            self.log.flush()
        if self.spans is not None:
            self.spans.close()


def guards_of(settings: Settings, hosts: Iterable[str]) -> Guards:
    """Return those of a gateway that listens at `hosts`."""
    options = settings.options
    rules = access_rules(
        hosts,
        allowed=options.get("allow_hosts", ()),
        origins=options.get("cors_origins", ()),
        proxies=options.get("behind_proxy", ()),
        needs_keys=asks_for_tokens(settings.properties),
        encrypted=settings.properties["inference_address"].startswith("https:"),
        properties=settings.properties,
    )
    return Guards(
        rules,
        KeyRing(KeyStore(Path(options["keys"])), _own_key(settings)),
        log=AccessLog(Path(settings.log_folder) / ACCESS_LOG),
        spans=Spans() if options.get("otel") else None,
    )


def _own_key(settings: Settings) -> Key:
    """Return the key of Marsmith's own commands, which its supervisor has made."""
    values = json.loads((Path(settings.folder) / KEY_FILE).read_bytes())
    digest = digest_of(values["management"]["key"])
    return Key("marsmith", "marsmith", digest, (Scope("manage"),), 0.0, None)
