"""Recognise what is around a figure: a frame along the borders, a card that it lies on."""

from __future__ import annotations

from typing import Any

import numpy as np
from figure_arrays import Box, Mask
from numpy.typing import NDArray
from PIL import Image

_SAME = 20  # grey levels that a frame's colour may vary
_LEAST_CARD = 24  # pixels of the shorter side of a card


def frame_width(image: Image.Image) -> int:
    """Return how wide a frame of one colour runs along all four borders, or 0."""
    pixels = np.asarray(image).reshape(image.height, image.width, -1)
    turned = pixels.transpose(1, 0, 2)
    colour = _ring_colour(np.concatenate([pixels[0], pixels[-1], turned[0], turned[-1]]))
    if colour is None:
        return 0
    depth = min(image.size) // 10 + 2
    lines, other = [], []
    for side in (pixels, pixels[::-1], turned, turned[::-1]):
        band = side[:depth].astype(np.int16) - colour
        far = ((band > _SAME) | (band < -_SAME)).any(axis=2)
        # A figure that fills the picture also differs near all borders, but not from end to end.
        lines.append(far.mean(axis=1) > 0.7)
        if not lines[-1].any():
            return 0
        other.append((np.abs(band.mean(axis=1)) > _SAME).any(axis=1))
    if not all(map(np.any, other)):
        return 0
    width = 1 + max(int(one.argmax()) for one in other)
    # A line is soft in a small copy: its other half would be taken for a part of the ground.
    ends = np.flatnonzero(~np.all(lines, axis=0)[width:])
    return width + int(ends[0]) if len(ends) else width


def _ring_colour(ring: NDArray[np.uint8]) -> NDArray[Any] | None:
    """Return the colour [C] of a ring of pixels [N, C], if nearly all of them have it."""
    colour = np.sort(ring, axis=0)[len(ring) // 4].astype(np.int16)
    far = (np.abs(ring - colour) >= _SAME).any(axis=1)
    return colour if np.count_nonzero(far) <= 0.05 * len(ring) else None


def inside(figure: Mask, box: Box) -> Box | None:
    """Return what lies within a mask, if it is no digit but a card or a frame; else None.

    ``box`` is where the mask is, its bounds.
    """
    left, top, right, bottom = map(int, box)
    piece = figure[top:bottom, left:right]
    height, width = piece.shape
    rim = max(2, min(height, width) // 8)
    if min(height, width) < _LEAST_CARD:
        return None
    for edge in (piece[:rim], piece[-rim:], piece.T[:rim], piece.T[-rim:]):
        if np.count_nonzero(edge.any(axis=0)) < 0.88 * edge.shape[1]:
            return None
    middle = piece[height // 4 : -(height // 4)]
    # A frame is as wide on both sides. On a card the figure may lie near one side, not near both.
    holes = ~np.stack([middle, middle[:, ::-1]])
    runs = np.where(holes.any(axis=2), holes.argmax(axis=2), width).max(axis=0)
    run = int(np.sort(runs)[len(runs) * 3 // 4])
    inset = 3 if run > width // 6 else run + 2
    if 2 * inset > min(height, width) - 12:
        return None
    return box.grown(-inset)
