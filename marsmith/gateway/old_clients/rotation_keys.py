"""Where calls of the rotation system's clients have their key; no IO."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

SERVICES = frozenset({"InferenceImage", "ModelVersion", "User", "UserFixImage", "Dataset"})


def key_in_call(path: str, metadata: Iterable[tuple[str, Any]], message: Any) -> str | None:
    """Return a call's key: what Login has as its password, and others in their metadata."""
    if path == "/User/Login":
        return str(getattr(message, "password", ""))  # of a message that could be read
    if path.split("/")[1] in SERVICES:
        return next((str(one) for name, one in metadata if name == "access_token"), None)
    return None
