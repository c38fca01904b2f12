"""Tell a figure from its ground: how much each pixel of a picture differs from a smooth background.

The colour distance is what counts, so neither dark on light nor any pair of colours is special.
What is the same for the whole picture (the ground's surface, the direction of the figure's colour)
is found in a copy of half the size.
"""

from __future__ import annotations

import numpy as np
from figure_arrays import Floats
from figure_ground import find_ground
from PIL import Image

_NEAR = np.float32(0.3)  # what a pixel gets of either neighbour when noise is smoothed
_RULE = 0.02  # the least contrast of a ruled line


def contrast_of(image: Image.Image, rules: tuple[int, int]) -> Floats:
    """Return each pixel's colour distance from the ground [H, W], 0 where it is ground.

    Light may be uneven, so the ground is a smooth surface. What differs from it in the direction
    opposite to the figure (a shadow of a light figure, a halo) counts as ground. So do ruled
    lines, if there are at least ``rules`` of them (across, down).
    """
    ground = find_ground(_planes(image.reduce(2)))
    along = _smooth(ground.along(_planes(image)))
    along = _without_rules(along, rules)
    # Noise alone has a distance too; taking it off leaves the ground near 0.
    along -= 1.5 * ground.noise**0.5
    np.maximum(along, 0, out=along)
    along *= len(ground.axis) ** -0.5
    return along


def _planes(image: Image.Image) -> Floats:
    """Return the colours [C, H, W], 0 to 1."""
    pixels = np.asarray(image)
    pixels = pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
    planes: Floats = np.multiply(pixels, np.float32(1 / 255), dtype=np.float32)
    return planes


def _smooth(values: Floats) -> Floats:
    """Average each pixel of [H, W] with its neighbours."""
    for _ in range(2):
        near = values * _NEAR
        values = values * (1 - 2 * _NEAR)
        values[1:] += near[:-1]
        values[:-1] += near[1:]
        values[0] += near[0]  # beyond the border the picture goes on as it is there
        values[-1] += near[-1]
        values = values.T
    return values


def _without_rules(contrast: Floats, least: tuple[int, int]) -> Floats:
    """Take ruled lines out of [H, W]: thin, straight, from one border to the other."""
    for count in least:
        line = _even_rows(contrast)
        rules = None if line is None else _thin(line, count)
        contrast = contrast.T if rules is None else contrast.T - rules
    return contrast


def _thin(line: Floats, least: int) -> Floats | None:
    """Leave the runs of [H] that are as thin as a rule; None if there are not so many."""
    edges = np.flatnonzero(np.diff(line != 0, prepend=False, append=False))
    runs = edges.reshape(-1, 2)
    thick = runs[:, 1] - runs[:, 0] >= max(4, len(line) // 20)
    for start, end in runs[thick]:
        line[start:end] = 0
    return line if len(runs) - np.count_nonzero(thick) >= least else None


def _even_rows(contrast: Floats) -> Floats | None:
    """Return [H] the contrast of each row that is about the same all along, 0 for the others.

    None if there is no such row.
    """
    height, width = contrast.shape
    rim = max(2, width // 16)
    left, right = contrast[:, :rim].sum(1) / rim, contrast[:, -rim:].sum(1) / rim
    # Both ends of a ruled line are at least half as strong as its middle.
    rows = np.flatnonzero(left * right > _RULE * _RULE / 4)
    if not len(rows):
        return None
    # The median is blind to a figure on half of the row.
    middle = np.sort(contrast[rows], axis=1)[:, width // 2]
    unlike = np.maximum(np.abs(left[rows] - middle), np.abs(right[rows] - middle))
    strength = np.abs(middle)
    line = np.zeros(height, np.float32)
    line[rows] = middle * ((strength > _RULE) & (unlike < 0.5 * strength))
    return line
