"""Find the connected pieces of a mask by its runs, in NumPy alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from figure_arrays import Floats, Mask
from numpy.typing import NDArray

_Numbers = NDArray[np.intp]


class Pieces(NamedTuple):
    """The 8-connected pieces of a mask [H, W], in any order.

    A run is an unbroken row of pixels of the mask. Rows and columns are (low, high) [N, 2], high
    exclusive; the mass is the sum of what the pixels weigh.
    """

    low: _Numbers  # [N, 2]: row, column
    high: _Numbers
    mass: Floats  # [N]
    piece: _Numbers  # of each run
    runs: _Numbers  # [R, 2]: where it starts and ends, in a mask with an empty column at each side
    shape: tuple[int, int]

    def mask(self, kept: Mask) -> Mask:
        """Return the pixels of those pieces, [H, W]."""
        height, width = self.shape
        steps = np.zeros(height * (width + 2) + 1, dtype=np.int8)
        chosen = self.runs[kept[self.piece]]
        steps[chosen[:, 0]], steps[chosen[:, 1]] = 1, -1
        lines = np.cumsum(steps[:-1], dtype=np.int8).reshape(height, width + 2)
        return lines[:, 1:-1] > 0


def pieces_of(mask: Mask, weight: Floats | Mask) -> Pieces:
    """Find the pieces of a mask, each pixel counting by its weight."""
    height, width = mask.shape
    stride = width + 2
    wide = np.zeros((height, stride), dtype=bool)
    wide[:, 1:-1] = mask
    flat = wide.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts, ends = edges[::2], edges[1::2]
    # A run touches those of the next row that end behind its start and start before its end.
    first = np.searchsorted(ends, starts + stride, side="left")
    count = np.searchsorted(starts, ends + stride, side="right") - first
    upper = np.repeat(np.arange(len(starts)), count)
    lower = np.arange(len(upper)) + np.repeat(first - np.cumsum(count) + count, count)
    least = _joined(len(starts), upper, lower)
    first_runs = least == np.arange(len(least))
    piece = (np.cumsum(first_runs) - 1)[least]
    number = np.count_nonzero(first_runs)
    heavy = np.zeros((height, stride), dtype=np.float32)
    heavy[:, 1:-1] = weight
    sums = np.add.reduceat(heavy.ravel(), edges)[::2] if len(edges) else heavy.ravel()[:0]
    low, high = np.full((number, 2), height + width), np.zeros((number, 2), dtype=np.intp)
    row, left = np.divmod(starts, stride)
    np.minimum.at(low, piece, np.stack([row, left - 1], axis=1))
    np.maximum.at(high, piece, np.stack([row + 1, ends % stride - 1], axis=1))
    mass: Floats = np.bincount(piece, sums, number).astype(np.float64)
    return Pieces(low, high, mass, piece, np.stack([starts, ends], axis=1), (height, width))


def _joined(count: int, first: _Numbers, second: _Numbers) -> _Numbers:
    """Give each of so many things the least number among those that pairs connect it with."""
    least = np.arange(count)
    while True:
        one, other = least[first], least[second]
        apart = one != other
        if not apart.any():
            return least
        low, high = np.minimum(one, other)[apart], np.maximum(one, other)[apart]
        np.minimum.at(least, high, low)
        while (least[least] != least).any():
            least = least[least]
