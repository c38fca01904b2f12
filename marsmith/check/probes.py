"""Requests that check sends besides an archive's own samples."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

from PIL import Image, ImageOps

from marsmith.answers.messages import Request

GARBAGE = Request.of(b"\x00no image\xff" * 3, "application/octet-stream")


def picture() -> bytes:
    """Return a small picture, for archives without a sample."""
    return _png(Image.radial_gradient("L").convert("RGB").resize((224, 224)))


def others_like(body: bytes) -> Iterator[bytes]:
    """Yield bodies of the same kind and size with other content, for pictures and JSON."""
    try:
        with Image.open(io.BytesIO(body)) as opened:
            image = opened if opened.mode in ("L", "RGB") else opened.convert("RGB")
            coloured = _coloured(image)
            yield from map(_png, (coloured, ImageOps.invert(coloured), ImageOps.invert(image)))
    except Exception:  # Pillow can raise anything for other bytes
        try:
            values = json.loads(body)
        except (ValueError, RecursionError):
            return
        if (other := _reversed(values)) != values:
            yield json.dumps(other).encode()


def _coloured(image: Image.Image) -> Image.Image:
    """Return a picture of the same size and mode with red, blue and black areas."""
    other = Image.new("RGB", image.size, "red")
    half = image.width // 2, image.height // 2
    other.paste("blue", (*half, *image.size))
    other.paste("black", (0, half[1], half[0], image.height))
    return other.convert(image.mode)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _reversed(value: Any) -> Any:
    """Return JSON values with each list of numbers reversed."""
    if isinstance(value, dict):
        return {key: _reversed(one) for key, one in value.items()}
    if isinstance(value, list):
        plain = all(isinstance(one, (int, float)) for one in value)
        return value[::-1] if plain else [_reversed(one) for one in value]
    return value
