"""Safe settings for a server: tokens, open addresses, workflows; no IO.

What TorchServe 0.12.0 leaves open is closed here, by its settings: docs/explanation/security.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from marsmith.core.errors import ProjectError
from marsmith.core.findings import Finding, Severity
from marsmith.torchserve.properties import CONFIG_FILE, Address, addresses

# POST /workflows registers any .war in the workflow store and runs its code; no setting turns it
# off. No file can be in this place, or be written there, not even by root.
NO_WORKFLOWS = "/dev/null"
_NO_URL = "(?!)"  # matches nothing
_DEFAULT_EXPIRATION = "60"  # minutes (ConfigManager.java)


@dataclass(frozen=True)
class Guarded:
    """Safe settings, and warnings for the user."""

    properties: dict[str, str]
    warnings: tuple[Finding, ...] = ()

    @property
    def asks_for_tokens(self) -> bool:
        """Whether requests to the inference and management APIs need a token."""
        return asks_for_tokens(self.properties)


def guarded(values: dict[str, str], *, secure: bool) -> Guarded:
    """Add safe settings; with `secure`, or an address that is open to others, turn tokens on.

    Raises ProjectError for what cannot be made safe: metrics that other machines can read, which
    never need a token, and workflows without tokens.
    """
    exposed = [place for place in addresses(values) if not place.is_loopback]
    warnings = tuple(_warnings(values, exposed, secure))
    if secure or exposed:
        values = values | {"disable_token_authorization": "false"}
    return Guarded(with_safe_settings(values), warnings)


def with_safe_settings(values: dict[str, str]) -> dict[str, str]:
    """Close what a configuration does not open: URLs, workflows, without tokens the model API.

    Raises ProjectError for workflows without tokens.
    """
    closed = {"workflow_store": NO_WORKFLOWS, "allowed_urls": _NO_URL}
    if asks_for_tokens(values):
        closed["enable_model_api"] = "true"
        token_lifetime(values)
    values = closed | values
    if values["workflow_store"] != NO_WORKFLOWS and not asks_for_tokens(values):
        raise ProjectError(
            f"{CONFIG_FILE} sets workflow_store, so any user can run the code of its workflows",
            f"turn tokens on: --secure; or set workflow_store={NO_WORKFLOWS}",
            code="open-workflows",
        )
    return values


def asks_for_tokens(values: Mapping[str, str]) -> bool:
    """Whether requests need tokens: they do unless that is turned off."""
    return values.get("disable_token_authorization", "").strip().lower() != "true"


def token_lifetime(values: dict[str, str]) -> float:
    """Return for how many seconds a key is valid, at least one. Raises ProjectError."""
    minutes = values.get("token_expiration_min", _DEFAULT_EXPIRATION)
    try:
        seconds = float(minutes) * 60
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds < float("inf"):
        raise ProjectError(
            f"{CONFIG_FILE}: token_expiration_min={minutes} must be at least one second",
            "write minutes: token_expiration_min=60",
            code="bad-token-lifetime",
        )
    return seconds


def _warnings(values: dict[str, str], exposed: list[Address], secure: bool) -> Iterator[Finding]:
    for place in exposed:
        if place.role == "metrics":
            raise ProjectError(
                f"the metrics address {place.url} is open to other machines, "
                "and TorchServe's metrics need no token",
                "listen on 127.0.0.1, and put an authenticating proxy before /metrics",
                code="open-metrics",
            )
    if exposed and not secure:
        yield Finding(
            f"other machines can reach {_named(exposed)}, so every request needs a token",
            "print one: marsmith token",
            severity=Severity.WARNING,
            rule="open-address",
        )
    if plain := [place for place in exposed if not _encrypts(values, place)]:
        yield Finding(
            f"{_named(plain)} is not encrypted, nor are the tokens",
            "encrypt them: --tls",
            severity=Severity.WARNING,
            rule="not-encrypted",
        )


def _encrypts(values: dict[str, str], place: Address) -> bool:
    if place.scheme == "grpc":
        return values.get("enable_grpc_ssl", "").strip().lower() == "true"
    return place.scheme == "https"


def _named(places: list[Address]) -> str:
    return ", ".join(f"{place.role} {place.url}" for place in places)
