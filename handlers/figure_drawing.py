"""Draw a figure that was found light on dark, framed as MNIST does."""

from __future__ import annotations

import numpy as np
from figure_arrays import Box, Floats, bounds, widen
from figure_look import Look
from PIL import Image

_ROOM = 8  # pixels around a figure that is drawn, where it may get wider
_MIN_STROKE = 0.10  # thinnest stroke in the result, in figure sides: 2 of 20 pixels


def drawn(look: Look, size: int) -> Image.Image:
    """Draw what was found light on dark, size by size."""
    whole = Box(0, 0, *look.figure.shape[::-1])
    left, top, right, bottom = map(int, look.bounds.grown(_ROOM).within(whole))
    place = slice(top, bottom), slice(left, right)
    # The slope keeps soft edges soft; the widened figure keeps them and drops the specks.
    light: Floats = look.contrast[place] * (2 / look.strength) - 0.5
    np.clip(light, 0, 1, out=light)
    light *= widen(widen(look.figure[place]))
    return _framed(_thickened(light), size)


def _thickened(light: Floats) -> Floats:
    """Widen the strokes of a thin figure [H, W], which else would fade in the small result."""
    down, right = np.abs(light[1:] - light[:-1]).sum(), np.abs(light[:, 1:] - light[:, :-1]).sum()
    outline = float(np.hypot(down, right)) * 1.11  # between the two measures of a slanting edge
    stroke = 2 * float(light.sum()) / max(outline, 1e-6)
    missing = _MIN_STROKE * bounds(light > 0.5).side - stroke
    for _ in range(min(4, round(missing / 2)) if missing >= 1 else 0):
        light = widen(light)
    return light


def _framed(light: Floats, size: int) -> Image.Image:
    """Scale the figure [H, W] to 20/28 of the side and put its centre of mass in the middle."""
    half = bounds(light > 0.5).side * 28 / 20 / 2
    pad = int(np.ceil(half)) + 1
    rows, columns = light.sum(axis=1), light.sum(axis=0)
    y = float(rows @ np.arange(len(rows)) / rows.sum()) + 0.5 + pad
    x = float(columns @ np.arange(len(columns)) / columns.sum()) + 0.5 + pad
    canvas = Image.new("L", (len(columns) + 2 * pad, len(rows) + 2 * pad))
    canvas.paste(Image.fromarray((light * 255).astype(np.uint8)), (pad, pad))
    box = (x - half, y - half, x + half, y + half)
    return canvas.resize((size, size), Image.Resampling.BILINEAR, box=box)
