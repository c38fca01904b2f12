"""Describe the body of a request or an answer by its bytes; no IO."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

_MOST_KEYS = 50
_LARGEST_JSON = 10_000_000  # bytes


@dataclass(frozen=True)
class Body:
    """The kind of a body (`picture`, `JSON`, `text` or `bytes`), and facts about it."""

    kind: str
    size: int  # bytes
    facts: dict[str, Any] = field(default_factory=dict)


def body_of(data: bytes) -> Body:
    """Describe a body. Only the header of a picture is read."""
    if picture := _picture(data):
        return Body("picture", len(data), picture)
    if len(data) <= _LARGEST_JSON:
        try:
            return Body("JSON", len(data), _json(json.loads(data)))
        except (ValueError, RecursionError):
            pass
    try:
        text = data.decode()
    except ValueError:
        return Body("bytes", len(data))
    is_text = bool(text) and "\0" not in text
    return (
        Body("text", len(data), {"lines": len(text.splitlines())})
        if is_text
        else Body("bytes", len(data))
    )


def _picture(data: bytes) -> dict[str, Any]:
    from PIL import Image  # slow to import, and few commands describe bodies

    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            return {"format": image.format, "width": width, "height": height, "mode": image.mode}
    # Decoders can raise anything for a damaged header, and warn of large pictures.
    except Exception:
        return {}


def _json(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {"type": "object", "keys": [str(key) for key in value][:_MOST_KEYS]}
    if isinstance(value, list):
        inner = value[0] if value and isinstance(value[0], dict) else {}
        return {"type": "list", "length": len(value)} | (
            {"keys": [str(key) for key in inner][:_MOST_KEYS]} if inner else {}
        )
    names = {bool: "boolean", int: "number", float: "number", str: "text"}
    return {"type": names.get(type(value), "null")}
