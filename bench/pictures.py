"""Photos to send, made of those that ship with scikit-image, in any size."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

_NAMES = ("rocket", "coffee", "chelsea", "astronaut")
_GRAIN = 5.0  # of 255: what is scaled up is smooth, and would be decoded faster than a photo
_QUALITY = 90
_PART, _STEP = 240, 40  # pixels


def photo(
    width: int, height: int, number: int = 0, *, quality: int = _QUALITY, grain: float = _GRAIN
) -> bytes:
    """Return a JPEG of that size: a photo scaled to it, with the grain that a camera leaves."""
    import skimage.data

    source = Image.fromarray(np.asarray(getattr(skimage.data, _NAMES[number])()))
    scaled = np.asarray(source.resize((width, height), Image.Resampling.LANCZOS), np.float32)
    noise = np.random.default_rng(0).standard_normal(scaled.shape, np.float32)
    pixels = (scaled + grain * noise).round().clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def write_photos(folder: Path) -> None:
    """Write parts of the photos that ship with scikit-image, for those who name no folder."""
    import skimage.data

    folder.mkdir(parents=True)
    for name in _NAMES:
        source = Image.fromarray(np.asarray(getattr(skimage.data, name)()))
        for left in range(0, source.width - _PART, _STEP):
            for top in range(0, source.height - _PART, _STEP):
                part = source.crop((left, top, left + _PART, top + _PART))
                part.save(folder / f"{name}-{left}-{top}.jpg", quality=_QUALITY)
