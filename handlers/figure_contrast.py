"""Tell a figure from its ground: how much each pixel of a picture differs from a smooth background.

The colour distance is what counts, so neither dark on light nor any pair of colours is special.
What is the same for the whole picture (the ground's surface, the direction of the figure's colour)
is found from a sample of the pixels. Colours come as planes, [C, H, W], which NumPy adds fastest.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from figure_pieces import Floats, Mask, pieces_of
from PIL import Image, ImageFilter

_SMOOTH = ImageFilter.BoxBlur(0.75)
_SAMPLED = 22  # pixels of each side that are enough to find the ground
_FITS = (1, 3, 6, 6)  # terms of the ground's surface in each step of the search


def contrast_of(image: Image.Image, rules: tuple[int, int]) -> Floats:
    """Return each pixel's colour distance from the ground [H, W], 0 where it is ground.

    Light may be uneven, so the ground is a smooth surface. What differs from it in the direction
    opposite to the figure (a shadow of a light figure, a halo) counts as ground. So do ruled
    lines, if there are at least ``rules`` of them (across, down).
    """
    planes = _planes(image)
    fit = _ground(planes)
    axis, noise = _direction(planes, fit)
    # Sums of einsum, since a product of matrices starts threads that wait for each other.
    along = np.einsum("c,chw->hw", axis, planes)
    along -= np.einsum("t,thw->hw", axis @ fit, _terms(*along.shape))
    along = _without_rules(along, rules)
    # Noise alone has a distance too; taking it off leaves the ground near 0.
    result: Floats = np.maximum(along - 1.5 * noise**0.5, 0) / len(axis) ** 0.5
    return result


def _planes(image: Image.Image) -> Floats:
    """Return the smoothed colours [C, H, W], 0 to 1."""
    pixels = np.asarray(image.filter(_SMOOTH))
    pixels = pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
    planes: Floats = np.multiply(pixels, np.float32(1 / 255), dtype=np.float32)
    return planes


def _direction(planes: Floats, fit: Floats) -> tuple[Floats, float]:
    """Return in which direction of colour [C] the figure differs, and the square of the noise."""
    some, terms = planes[:, ::2, ::2], _terms(*planes.shape[1:])[:, ::2, ::2]
    difference = some.reshape(len(some), -1) - fit @ terms.reshape(6, -1)
    energy = np.einsum("cn,cn->n", difference, difference)
    # Less than half of a picture may be ground, so the noise is judged by the quietest part.
    quiet = len(energy) // 5
    noise = 2.4 * float(np.partition(energy, quiet)[quiet])
    weighted = difference * np.maximum(energy - 9 * noise, 0)
    axis = _main_axis(weighted @ difference.T)
    return (-axis if float(axis @ weighted.sum(axis=1)) < 0 else axis), noise


def _main_axis(spread: Floats) -> Floats:
    """Return the direction [C] in which colours vary most, from the products of them [C, C]."""
    axis: Floats = np.linalg.eigh(spread)[1][:, -1]
    return axis


def _ground(planes: Floats) -> Floats:
    """Fit a quadratic surface per channel to what looks like background; its terms [C, 6].

    It begins with the colour of the rim and then lets every pixel near the surface have its say,
    so neither a thick figure nor one that touches the border pulls it away.
    """
    channels, height, width = planes.shape
    rows, columns = (np.linspace(0, n - 1, min(n, _SAMPLED)).astype(int) for n in (height, width))
    small = planes[:, rows[:, None], columns]
    colour, filled = _ground_colour(small)
    sample = small.reshape(channels, -1)
    terms = _terms(len(rows), len(columns)).reshape(6, -1)
    difference = sample - colour[:, None]
    quantile = sample.shape[1] * (3 if filled else 7) // 20
    fit = np.zeros((channels, 6), dtype=np.float32)
    for count in _FITS:
        # A thick figure that fills the picture has more pixels than the scraps of its ground,
        # which then give one colour at best.
        count = 1 if filled else count
        distance = np.einsum("cn,cn->n", difference, difference)
        reach = max(9 * float(np.partition(distance, quantile)[quantile]), 2.25e-4 * channels)
        weight = 1 / (1 + np.square(distance / reach)) + 1e-6
        known = terms[:count]
        system = known * weight
        even = 1e-4 * np.eye(count)
        fit[:, :count] = np.linalg.solve(system @ known.T + even, system @ sample.T).T
        difference = sample - fit[:, :count] @ known
    return fit


@lru_cache(maxsize=16)  # most looks are square
def _terms(height: int, width: int) -> Floats:
    """Return the terms of a quadratic surface, [6, H, W], plainest first."""
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in (height, width))
    down, right = np.meshgrid(y, x, indexing="ij")
    one = np.ones_like(down)
    return np.stack([one, right, down, right * right, right * down, down * down])


def _ground_colour(sample: Floats) -> tuple[Floats, bool]:
    """Return the colour [C] of the ground of [C, H, W], and whether the figure fills it all."""
    channels, height, width = sample.shape
    flat = sample.reshape(channels, -1)
    rim = _rim(height, width)
    common = np.median(sample[:, rim], axis=1)
    spread = flat - flat.mean(axis=1)[:, None]
    along = _main_axis(spread @ spread.T) @ spread
    variance = float(along @ along) / len(along)
    if variance < 1e-5:
        return common, False
    cut = 0.0
    for _ in range(4):
        upper = along > cut
        above = np.count_nonzero(upper)
        total = float(along @ upper)
        high, low = total / above, -total / (len(along) - above)  # the sum of all is 0
        cut = (high + low) / 2
    share = above / len(along)
    explained = share * (1 - share) * (high - low) ** 2 / variance
    mask = upper.reshape(height, width)
    if explained > 0.8 and 0.12 < mask[rim].mean() < 0.88:
        # The figure may fill the picture. Then it reaches all borders in one piece, and the
        # ground around it and in its holes is in several.
        counts = [_large(mask), _large(~mask)]
        for half, figure, ground in ((mask, *counts), (~mask, *counts[::-1])):
            if figure == 1 < ground and _fills(half):
                return np.median(flat[:, ~half.ravel()], axis=1), True
    return common, False


@lru_cache(maxsize=8)
def _rim(height: int, width: int) -> Mask:
    """Return the outermost pixels of [H, W]."""
    rim = np.ones((height, width), dtype=bool)
    edge = height // 13 + 1, width // 13 + 1
    rim[edge[0] : height - edge[0], edge[1] : width - edge[1]] = False
    return rim


def _large(mask: Mask) -> int:
    """Count the pieces of a mask, leaving out the tiny ones."""
    return int((pieces_of(mask, mask).mass > mask.size // 200).sum())


def _fills(mask: Mask) -> bool:
    """Tell whether a mask reaches all four borders, or nearly."""
    return bool(min(m.any() for m in (mask[:2], mask[-2:], mask[:, :2], mask[:, -2:])))


def _without_rules(contrast: Floats, least: tuple[int, int]) -> Floats:
    """Take ruled lines out of [H, W]: thin, straight, from one border to the other."""
    for count in least:
        height, width = contrast.shape
        rim = max(2, width // 16)
        ends = np.stack([contrast[:, :rim].mean(1), contrast[:, -rim:].mean(1)])
        if (np.abs(ends).min(axis=0) > 0.006).any():
            # The median is blind to a figure on half of the row.
            line = np.partition(contrast, width // 2, axis=1)[:, width // 2]
            ruled = (np.abs(line) > 0.02) & (np.abs(ends - line).max(0) < 0.5 * np.abs(line))
            edges = np.flatnonzero(np.diff(ruled, prepend=False, append=False))
            lengths = edges[1::2] - edges[::2]
            thin = lengths < max(4, height // 20)
            if np.count_nonzero(thin) >= count:
                ruled[ruled] = np.repeat(thin, lengths)
                contrast = contrast - np.where(ruled, line, 0)[:, None]
        contrast = contrast.T
    return contrast
