"""Tell a figure from its ground: how much each pixel of a picture differs from a smooth background.

The colour distance is what counts, so neither dark on light nor any pair of colours is special.
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
    pixels = (
        np.asarray(image.filter(_SMOOTH), dtype=np.float32).reshape(image.height, image.width, -1)
        / 255
    )
    difference = (pixels - _ground(pixels)).reshape(-1, pixels.shape[2])
    energy = np.einsum("nc,nc->n", difference, difference)
    # Less than half of a picture may be ground, so the noise is judged by the quietest part.
    few = energy[::3]
    noise = 2.4 * float(np.partition(few, len(few) // 5)[len(few) // 5])
    weighted = difference * np.maximum(energy - 9 * noise, 0)[:, None]
    axis = np.linalg.eigh(weighted.T @ difference)[1][:, -1]
    if float((weighted @ axis).sum()) < 0:
        axis = -axis
    along = _without_rules((difference @ axis).reshape(image.height, image.width), rules)
    # Noise alone has a distance too; taking it off leaves the ground near 0.
    result: Floats = np.maximum(along - 1.5 * np.sqrt(noise), 0) / np.sqrt(len(axis))
    return result


def _ground(pixels: Floats) -> Floats:
    """Fit a quadratic surface per channel to what looks like background; [H, W, C].

    It begins with the colour of the rim and then lets every pixel near the surface have its say,
    so neither a thick figure nor one that touches the border pulls it away.
    """
    height, width, channels = pixels.shape
    terms = _terms(height, width)
    some = np.ix_(*(np.linspace(0, n - 1, min(n, _SAMPLED)).astype(int) for n in (height, width)))
    small = pixels[some]
    colour, filled = _ground_colour(small)
    sample = small.reshape(-1, channels)
    few = terms[some].reshape(-1, 6)
    guess: Floats = np.broadcast_to(colour, sample.shape)
    quantile = len(sample) * (3 if filled else 7) // 20
    for count in _FITS:
        # A thick figure that fills the picture has more pixels than the scraps of its ground,
        # which then give one colour at best.
        count = 1 if filled else count
        distance = np.einsum("nc,nc->n", sample - guess, sample - guess)
        reach = max(9 * float(np.partition(distance, quantile)[quantile]), 2.25e-4 * channels)
        weight = 1 / (1 + np.square(distance / reach)) + 1e-6
        known = few[:, :count]
        system = (known * weight[:, None]).T
        fit = np.linalg.solve(system @ known + 1e-4 * np.eye(count), system @ sample)
        guess = known @ fit
    surface: Floats = terms.reshape(-1, 6)[:, : len(fit)] @ fit.astype(np.float32)
    return surface.reshape(pixels.shape)


@lru_cache(maxsize=8)  # most looks are square
def _terms(height: int, width: int) -> Floats:
    """Return the terms of a quadratic surface, [H, W, 6], plainest first."""
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in (height, width))
    down, right = np.meshgrid(y, x, indexing="ij")
    one = np.ones_like(down)
    return np.stack([one, right, down, right * right, right * down, down * down], axis=2)


def _ground_colour(sample: Floats) -> tuple[Floats, bool]:
    """Return the colour [C] of the ground of [H, W, C], and whether the figure fills it all."""
    height, width, channels = sample.shape
    flat = sample.reshape(-1, channels)
    rim = np.ones((height, width), dtype=bool)
    edge = height // 13, width // 13
    rim[edge[0] + 1 : height - edge[0] - 1, edge[1] + 1 : width - edge[1] - 1] = False
    common = np.median(sample[rim], axis=0)
    spread = flat - flat.mean(axis=0)
    along = spread @ np.linalg.eigh(spread.T @ spread)[1][:, -1]
    variance = float(along.var())
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
    mask = upper.reshape(rim.shape)
    if 0.12 < mask[rim].mean() < 0.88 and explained > 0.8:
        # The figure may fill the picture. Then it reaches all borders in one piece, and the
        # ground around it and in its holes is in several.
        counts = [_large(mask), _large(~mask)]
        for half, figure, ground in ((mask, *counts), (~mask, *counts[::-1])):
            if figure == 1 < ground and _fills(half):
                return np.median(flat[~half.ravel()], axis=0), True
    return common, False


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
