"""Recognise a figure that fills the picture, so that most of the rim is figure and not ground."""

from __future__ import annotations

import numpy as np
from figure_arrays import Floats, Mask, median
from figure_pieces import pieces_of

_ONE = np.ones(1, np.float32)


def ground_of_filling(flat: Floats, rim: Mask) -> Floats | None:
    """Return the colour [C] of the ground, if the figure fills the picture; flat is [C, H * W]."""
    spread = flat - flat.mean(axis=1)[:, None]
    along = main_axis(spread @ spread.T) @ spread
    variance = float(along @ along) / len(along)
    if variance < 1e-5:
        return None
    upper, explained = _halves(along, variance)
    mask = upper.reshape(rim.shape)
    if explained < 0.8 or not 0.12 < mask[rim].mean() < 0.88:
        return None
    # Such a figure reaches all borders in one piece, and the ground around it and in its holes is
    # in several.
    pieces = _large(mask), _large(~mask)
    for figure, counts in ((mask, pieces), (~mask, pieces[::-1])):
        if counts[0] == 1 < counts[1] and _fills(figure):
            return median(flat[:, ~figure.ravel()])
    return None


def _halves(along: Floats, variance: float) -> tuple[Mask, float]:
    """Part values with the mean 0 in two, and return how much of the variance that explains."""
    cut = 0.0
    for _ in range(4):
        upper = along > cut
        above = np.count_nonzero(upper)
        total = float(along @ upper)
        high, low = total / above, -total / (len(along) - above)
        cut = (high + low) / 2
    share = above / len(along)
    return upper, share * (1 - share) * (high - low) ** 2 / variance


def main_axis(spread: Floats) -> Floats:
    """Return the direction [C] in which colours vary most, from the products of them [C, C]."""
    if len(spread) == 1:
        return _ONE
    axis: Floats = np.linalg.eigh(spread)[1][:, -1]
    return axis


def _large(mask: Mask) -> int:
    """Count the pieces of a mask, leaving out the tiny ones."""
    return int((pieces_of(mask, mask).mass > mask.size // 200).sum())


def _fills(mask: Mask) -> bool:
    """Tell whether a mask reaches all four borders, or nearly."""
    return bool(min(m.any() for m in (mask[:2], mask[-2:], mask[:, :2], mask[:, -2:])))
