"""Look at a part of a picture in a small copy, and find the figure there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from figure_arrays import Box, Floats, Mask, bounds, quantile, widen
from figure_contrast import contrast_of
from figure_frames import frame_width, inside
from figure_pieces import pieces_of
from PIL import Image

LOOK_SIDE = 92  # pixels of the side of what is looked at; if it is no square, its area is the same
WORTH = 0.6  # a closer look must look at less than this share of the pixels
MARGIN = 0.34  # ground kept around the figure for a closer look, in figure sides
FAINTEST = 0.02  # a colour distance that is still a figure, 1 is black to white


class Look(NamedTuple):
    """What was found in a part of the picture: [H, W], ``scale`` times the size of that part."""

    part: Box
    contrast: Floats
    figure: Mask
    bounds: Box  # of the figure
    strength: float  # the contrast of the figure, where it is not at its faintest
    scale: float

    def place(self, box: Box) -> Box:
        """Return where a box of the look is in the picture."""
        left, top, right, bottom = (side / self.scale for side in box)
        x, y = self.part.left, self.part.top
        return Box(left + x, top + y, right + x, bottom + y)

    def closer(self) -> Box | None:
        """Return what to look at next, None if this look was close enough."""
        within = inside(self.figure, self.bounds)
        if within is not None:
            return self.place(within)
        place = self.place(self.bounds)
        closer = place.grown(MARGIN * place.side + 2).within(self.part)
        return closer if closer.area < WORTH * self.part.area else None


def look_at(image: Image.Image, part: Box) -> Look | None:
    """Find the figure in a part of the picture; None if there is none."""
    scale = LOOK_SIDE / part.area**0.5
    target = (max(8, round(part.size[0] * scale)), max(8, round(part.size[1] * scale)))
    small = image.resize(target, Image.Resampling.BICUBIC, box=part, reducing_gap=1.0)
    for _ in range(2):  # ground around a frame counts as one more frame
        edge = frame_width(small)
        if not edge:
            break
        small = small.crop((edge, edge, small.width - edge, small.height - edge))
        part = part.grown(-edge / scale)
    # Where ground is left on either side, a single line across is a rule; else a stroke may be.
    wide = part.size[0] < image.width, part.size[1] < image.height
    contrast = contrast_of(small, (1 if wide[0] else 2, 1 if wide[1] else 2))
    figure = _figure(contrast)
    if figure is None:
        return None
    return Look(part, contrast, figure, bounds(figure), quantile(contrast[figure], 0.75), scale)


def _figure(contrast: Floats) -> Mask | None:
    """Keep the heaviest connected piece of what is strong, and the large pieces close to it."""
    some = np.sort(contrast[::2, ::2], axis=None)  # one pixel in four is enough
    peak = float(some[-max(3, len(some) // 100) :].mean())
    mask = contrast > max(0.45 * peak, FAINTEST)
    pieces = pieces_of(widen(mask), contrast * mask)
    if not len(pieces.mass):
        return None
    low, high, mass = pieces.low, pieces.high, pieces.mass
    # What runs out of the picture is more often a shadow or an edge than the figure.
    sides = (low == 0).sum(axis=1) + (high == mask.shape).sum(axis=1)
    mass = mass * 0.15 ** np.minimum(sides, 2)
    main = int(mass.argmax())
    near = np.maximum(low - high[main], low[main] - high).max(axis=1)
    kept = (mass > 0.06 * mass[main]) & (near < 0.2 * (high[main] - low[main]).max())
    kept &= sides < 3  # a frame
    kept[main] = True
    return mask if kept.all() else pieces.mask(kept) & mask
