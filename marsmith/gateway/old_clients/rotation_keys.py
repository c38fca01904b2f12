"""Where calls of the rotation system's clients have their key; no IO."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from marsmith.gateway.refusals import GatewayError

SERVICES = frozenset({"InferenceImage", "ModelVersion", "User", "UserFixImage", "Dataset"})


def key_in_call(path: str, metadata: Iterable[tuple[str, Any]], message: Any) -> str | None:
    """Return a call's key: what Login has as its password, and others in their metadata."""
    if path == "/User/Login":
        return str(getattr(message, "password", ""))  # of a message that could be read
    if _is_rotation(path):
        return next((str(one) for name, one in metadata if name == "access_token"), None)
    return None


def key_missing() -> GatewayError:
    """Say how these clients send a key."""
    return GatewayError(
        "this call needs a key",
        "send it as access_token in the metadata, or as the password of Login; "
        "make one: marsmith gateway key add NAME --scope predict",
        code="key-missing",
        status=401,
    )


def told(path: str, error: GatewayError) -> GatewayError:
    """Return an error of the gate as the clients of a path understand it."""
    return key_missing() if error.code == "key-missing" and _is_rotation(path) else error


def _is_rotation(path: str) -> bool:
    return path.split("/")[1] in SERVICES
