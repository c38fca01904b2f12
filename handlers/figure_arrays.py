"""What the modules that find a figure share: arrays of one value per pixel, and rectangles."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
_Values = TypeVar("_Values", Floats, Mask)


class Box(NamedTuple):
    """A rectangle in pixels; right and bottom are exclusive."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def size(self) -> tuple[float, float]:
        """Width and height."""
        return self.right - self.left, self.bottom - self.top

    @property
    def side(self) -> float:
        """The longer of width and height."""
        return max(self.size)

    @property
    def area(self) -> float:
        """Width times height."""
        return self.size[0] * self.size[1]

    def grown(self, margin: float) -> Box:
        """Move all four sides outwards."""
        return Box(self.left - margin, self.top - margin, self.right + margin, self.bottom + margin)

    def within(self, other: Box) -> Box:
        """Return what both have in common."""
        low = max(self.left, other.left), max(self.top, other.top)
        return Box(*low, min(self.right, other.right), min(self.bottom, other.bottom))


def bounds(mask: Mask) -> Box:
    """Return the smallest rectangle that holds the mask, which is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def widen(values: _Values) -> _Values:
    """Give each pixel of [H, W] the most that it or one of its eight neighbours has."""
    for _ in range(2):
        wide = values.copy()
        np.maximum(wide[1:], values[:-1], out=wide[1:])
        np.maximum(wide[:-1], values[1:], out=wide[:-1])
        values = wide.T
    return values


def quantile(values: Floats, share: float) -> float:
    """Return the value that this share of all is below.

    Sorted whole: NumPy's `partition` takes eight times as long where many values are the same.
    """
    ordered = np.sort(values, axis=None)
    return float(ordered[int(len(ordered) * share)])


def median(values: Floats) -> Floats:
    """Return the middle of each row: `np.median` takes ten times as long."""
    middle: Floats = np.sort(values, axis=1)[:, values.shape[1] // 2]
    return middle
