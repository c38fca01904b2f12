"""Recognise a picture that is framed like MNIST already: it needs no search."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_FAR = 25  # grey levels from black or white that a border may have
_CORNER = 40  # the same for a single pixel in full size, before it is averaged
_LUMA = (0.299, 0.587, 0.114)


def framed(image: Image.Image, size: int) -> Image.Image | None:
    """Return a square picture in grey, at that size, if it is framed like MNIST already."""
    if image.width != image.height or image.width < size or not _may_be(image):
        return None
    grey = image.convert("L") if image.mode != "L" else image
    if grey.width != size:
        grey = grey.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=1.0)
    pixels = np.asarray(grey)
    if _is_framed(pixels):
        return grey
    dark = 255 - pixels
    return Image.fromarray(dark) if _is_framed(dark) else None


def _may_be(image: Image.Image) -> bool:
    """Tell whether a corner is black or white, before a large picture is scaled."""
    corner = image.getpixel((0, 0))
    if isinstance(corner, tuple):
        corner = sum(part * share for part, share in zip(corner, _LUMA, strict=False))
    return corner is not None and not _CORNER < corner < 255 - _CORNER


def _is_framed(pixels: NDArray[np.uint8]) -> bool:
    """Tell whether a square grey picture already is a light figure framed like MNIST."""
    size = len(pixels)
    lines = pixels.max(axis=1), pixels.max(axis=0)  # of rows, of columns
    if max(int(line[end]) for line in lines for end in (0, -1)) > _FAR or lines[0].max() < 200:
        return False
    strong = [np.flatnonzero(line > 60) for line in lines]
    longest = max(int(places[-1] - places[0]) + 1 for places in strong)
    if not 0.6 < longest / size < 0.8 or np.count_nonzero(pixels > 12) > 0.6 * longest * longest:
        return False  # the latter is a card, or a grey ground
    steps = np.arange(size) - (size - 1) / 2
    offsets = (abs(float(pixels.sum(axis=axis).dot(steps))) for axis in (0, 1))
    return max(offsets) < 0.07 * size * float(pixels.sum(dtype=np.int64))
