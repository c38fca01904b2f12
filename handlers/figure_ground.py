"""Find the ground of a picture: a smooth surface of colour, and what lies on it in which direction.

Colours come as planes, [C, H, W], which NumPy adds fastest.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from figure_arrays import Floats, Mask, median, quantile
from figure_filling import ground_of_filling, main_axis

_FITS = (1, 3, 6, 6)  # terms of the ground's surface in each step of the search
_STEP = 2  # pixels of each side between those that the surface is fitted to
_EVEN = 0.01  # squared: the rim of an even ground is a tenth as far from it as the figure
_LITTLE = np.eye(6, dtype=np.float32) * 1e-4  # keeps the system solvable


class Ground(NamedTuple):
    """A quadratic surface per channel, and how the figure differs from it."""

    fit: Floats  # [C, 6], the coefficients of `terms`
    axis: Floats  # [C], a direction of colour
    noise: float  # the square of a distance that is still ground

    def along(self, planes: Floats) -> Floats:
        """Return how far each pixel of [C, H, W] is from the ground in that direction, [H, W]."""
        # Sums of einsum, since a product of matrices starts threads that wait for each other.
        distance: Floats = np.einsum("c,chw->hw", self.axis, planes)
        level = self.axis @ self.fit
        if np.any(level[1:]):
            distance -= np.einsum("t,thw->hw", level, terms(*distance.shape))
        else:
            distance -= level[0]
        return distance


def find_ground(planes: Floats) -> Ground:
    """Find the ground of a picture from a small copy of it, [C, H, W] with values 0 to 1."""
    fit = _surface(planes)
    known = terms(*planes.shape[1:])
    difference = planes.reshape(len(planes), -1) - fit @ known.reshape(6, -1)
    energy = _distance(difference)
    # Less than half of a picture may be ground, so the noise is judged by the quietest part.
    noise = 2.4 * quantile(energy, 0.2)
    weighted = difference * np.maximum(energy - 9 * noise, 0)
    axis = main_axis(weighted @ difference.T)
    forward = float(axis @ weighted.sum(axis=1)) >= 0
    return Ground(fit, axis if forward else -axis, noise)


@lru_cache(maxsize=16)  # most looks are square
def terms(height: int, width: int) -> Floats:
    """Return the terms of a quadratic surface, [6, H, W], plainest first."""
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in (height, width))
    down, right = np.meshgrid(y, x, indexing="ij")
    one = np.ones_like(down)
    return np.stack([one, right, down, right * right, right * down, down * down])


def _surface(planes: Floats) -> Floats:
    """Fit a quadratic surface per channel to what looks like background; its terms [C, 6]."""
    some = planes[:, ::_STEP, ::_STEP]
    sample = some.reshape(len(some), -1)
    rim = _rim(*some.shape[1:])
    colour = median(sample[:, rim.ravel()])
    distance = _distance(sample - colour[:, None])
    at_rim, far = distance[rim.ravel()], float(distance.max())
    if float(at_rim.max()) < _EVEN * far:
        fit = np.zeros((len(some), 6), dtype=np.float32)
        fit[:, 0] = colour
        return fit
    known = terms(*planes.shape[1:])[:, ::_STEP, ::_STEP].reshape(6, -1)
    filled = np.count_nonzero(at_rim > 0.1 * far) > 0.1 * len(at_rim)
    filling = ground_of_filling(sample, rim) if filled else None
    if filling is None:
        return _fitted(sample, known, colour, _FITS, 0.35)
    # A thick figure that fills the picture has more pixels than the scraps of its ground, which
    # then give one colour at best.
    return _fitted(sample, known, filling, (1, 1, 1, 1), 0.15)


def _fitted(
    sample: Floats, known: Floats, colour: Floats, counts: Sequence[int], share: float
) -> Floats:
    """Fit a surface with so many terms in each step, beginning with one colour.

    At least that share of the pixels is ground. Every pixel near the surface has its say, so
    neither a thick figure nor one that touches the border pulls it away.
    """
    fit = np.zeros((len(sample), 6), dtype=np.float32)
    difference = sample - colour[:, None]
    for count in counts:
        distance = _distance(difference)
        reach = max(9 * quantile(distance, share), 2.25e-4 * len(sample))
        weight = 1 / (1 + np.square(distance / reach)) + 1e-6
        system = known[:count] * weight
        both = system @ known[:count].T + _LITTLE[:count, :count]
        fit[:, :count] = np.linalg.solve(both, system @ sample.T).T
        difference = sample - fit[:, :count] @ known[:count]
    return fit


def _distance(difference: Floats) -> Floats:
    """Return the square of each pixel's distance [N], from [C, N]."""
    squares: Floats = np.einsum("cn,cn->n", difference, difference)
    return squares


@lru_cache(maxsize=8)
def _rim(height: int, width: int) -> Mask:
    """Return the outermost pixels of [H, W]."""
    rim = np.ones((height, width), dtype=bool)
    edge = height // 13 + 1, width // 13 + 1
    rim[edge[0] : height - edge[0], edge[1] : width - edge[1]] = False
    return rim
