"""What of a server's configuration keeps others out; no IO.

What TorchServe 0.12.0 leaves open is closed here, by its own settings: docs/explanation/security.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from marsmith.core.errors import ProjectError
from marsmith.torchserve.properties import CONFIG_FILE, Address, addresses

# POST /workflows registers any .war in the workflow store and runs its code; no setting turns it
# off. Nothing can lie in this place, nor be written into it, not even by root.
NO_WORKFLOWS = "/dev/null"
_NO_URL = "(?!)"  # matches nothing
_DEFAULT_EXPIRATION = "60"  # minutes (ConfigManager.java)


@dataclass(frozen=True)
class Guarded:
    """A configuration that lets in only who should be, and what its user should know of it."""

    properties: dict[str, str]
    warnings: tuple[str, ...] = ()

    @property
    def asks_for_tokens(self) -> bool:
        """Whether every request to the inference and management APIs must carry a token."""
        return asks_for_tokens(self.properties)


def guarded(values: dict[str, str], *, secure: bool) -> Guarded:
    """Close what nobody asked to be open; with `secure`, or an open address, turn tokens on.

    Raises ProjectError for what cannot be guarded: metrics that other machines can read, which
    TorchServe never asks a token for, and workflows without tokens.
    """
    exposed = [place for place in addresses(values) if not place.is_loopback]
    warnings = list(_warnings(values, exposed, secure))
    if secure or exposed:
        values = values | {"disable_token_authorization": "false"}
    closed = {"workflow_store": NO_WORKFLOWS, "allowed_urls": _NO_URL}
    if asks_for_tokens(values):
        closed["enable_model_api"] = "true"
        token_lifetime(values)
    values = closed | values
    if values["workflow_store"] != NO_WORKFLOWS and not asks_for_tokens(values):
        raise ProjectError(
            f"{CONFIG_FILE} sets workflow_store, so anyone may run what lies there",
            f"turn tokens on: marsmith serve --secure; or set workflow_store={NO_WORKFLOWS}",
        )
    return Guarded(values, tuple(warnings))


def asks_for_tokens(values: dict[str, str]) -> bool:
    """Whether TorchServe will ask for tokens: it does unless it is told not to."""
    return values.get("disable_token_authorization", "").strip().lower() != "true"


def token_lifetime(values: dict[str, str]) -> float:
    """Return for how many seconds a key is valid. Raises ProjectError if that is no time."""
    minutes = values.get("token_expiration_min", _DEFAULT_EXPIRATION)
    try:
        seconds = float(minutes) * 60
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds < float("inf"):
        raise ProjectError(
            f"{CONFIG_FILE}: token_expiration_min={minutes} is no time that a key can live",
            "write minutes: token_expiration_min=60",
        )
    return seconds


def _warnings(values: dict[str, str], exposed: list[Address], secure: bool) -> list[str]:
    found = []
    for place in exposed:
        if place.role == "metrics":
            raise ProjectError(
                f"the metrics address {place.url} is open to other machines, "
                "and TorchServe asks no token for metrics",
                "listen on 127.0.0.1; a proxy that asks who is there may pass /metrics on",
            )
    if exposed and not secure:
        found.append(f"other machines reach {_named(exposed)}, so every request must carry a token")
    if plain := [place for place in exposed if not _encrypts(values, place)]:
        found.append(f"{_named(plain)} is not encrypted, tokens neither: marsmith serve --tls")
    return found


def _encrypts(values: dict[str, str], place: Address) -> bool:
    if place.scheme == "grpc":
        return values.get("enable_grpc_ssl", "").strip().lower() == "true"
    return place.scheme == "https"


def _named(places: list[Address]) -> str:
    return ", ".join(f"{place.role} {place.url}" for place in places)
