"""Tell a figure from its ground: how much each pixel of a picture differs from a smooth background.

The colour distance is what counts, so neither dark on light nor any pair of colours is special.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


def contrast_of(image: Image.Image, rules: tuple[int, int]) -> Floats:
    """Return each pixel's colour distance from the ground [H, W], 0 where it is ground.

    Light may be uneven, so the ground is a smooth surface. What differs from it in the direction
    opposite to the figure (a shadow of a light figure, a halo) counts as ground. So do ruled
    lines, if there are at least ``rules`` of them (across, down).
    """
    pixels = np.asarray(image, dtype=np.float32).reshape(image.height, image.width, -1) / 255
    difference = _without_rules(_smooth(pixels - _ground(pixels)), rules)
    flat = difference.reshape(-1, difference.shape[2])
    energy = np.einsum("nc,nc->n", flat, flat)
    # Less than half of a picture may be ground, so the noise is judged by the quietest part.
    noise = 2.4 * float(np.quantile(energy, 0.2))
    weighted = flat * np.maximum(energy - 9 * noise, 0)[:, None]
    axis = np.linalg.eigh(weighted.T @ flat)[1][:, -1]
    along = flat @ axis
    if float((weighted @ axis).sum()) < 0:
        along = -along
    distance = np.sqrt(energy / flat.shape[1])
    distance[along < -0.5 * np.sqrt(energy)] = 0
    # Noise alone has a distance too; taking it off leaves the ground near 0.
    floor = 1.5 * np.sqrt(noise / flat.shape[1])
    result: Floats = np.maximum(distance - floor, 0).reshape(difference.shape[:2])
    return result


def _ground(pixels: Floats) -> Floats:
    """Fit a quadratic surface per channel to what looks like background; [H, W, C].

    It begins with the colour of the rim and then lets every pixel near the surface have its say,
    so neither a thick figure nor one that touches the border pulls it away.
    """
    height, width, channels = pixels.shape
    rows = np.linspace(0, height - 1, min(height, 40)).round().astype(int)
    columns = np.linspace(0, width - 1, min(width, 40)).round().astype(int)
    sample = pixels[rows][:, columns].reshape(-1, channels)
    y, x = np.meshgrid(rows / height * 2 - 1, columns / width * 2 - 1, indexing="ij")
    terms = _terms(y.ravel(), x.ravel())
    rim = np.maximum(np.abs(y), np.abs(x)) > 0.85
    colour, filled = _ground_colour(sample.reshape(*rim.shape, -1), rim)
    guess = np.broadcast_to(colour, sample.shape)
    for step in range(8):
        distance = np.sqrt(((sample - guess) ** 2).mean(axis=1))
        # A thick figure that fills the picture has more pixels than the scraps of its ground,
        # which then give one colour at best.
        reach = max(3.0 * float(np.quantile(distance, 0.15 if filled else 0.35)), 0.015)
        weight = (1 / (1 + (distance / reach) ** 4))[:, None] + 1e-6
        count = 1 if filled or step == 0 else 3 if step < 3 else 6
        system = terms[:, :count].T @ (weight * terms[:, :count]) + 1e-4 * np.eye(count)
        fit = np.linalg.solve(system, terms[:, :count].T @ (weight * sample))
        guess = terms[:, :count] @ fit
    y, x = np.meshgrid(
        np.arange(height) / height * 2 - 1, np.arange(width) / width * 2 - 1, indexing="ij"
    )
    surface: Floats = (_terms(y.ravel(), x.ravel())[:, :count] @ fit).astype(np.float32)
    return surface.reshape(pixels.shape)


def _ground_colour(sample: Floats, rim: Mask) -> tuple[Floats, bool]:
    """Return the colour [C] of the ground of [H, W, C], and whether the figure fills it all."""
    flat = sample.reshape(-1, sample.shape[2])
    common = np.median(sample[rim], axis=0)
    spread = flat - flat.mean(axis=0)
    along = spread @ np.linalg.eigh(spread.T @ spread)[1][:, -1]
    cut = 0.0
    if float(along.var()) < 1e-5:
        return common, False
    for _ in range(4):
        cut = float(along[along <= cut].mean() + along[along > cut].mean()) / 2
    upper = (along > cut).reshape(rim.shape)
    halves = float(along[along > cut].mean() - along[along <= cut].mean()) / 2
    share = float(upper.mean())
    explained = 4 * share * (1 - share) * halves**2 / float(along.var())
    if 0.12 < upper[rim].mean() < 0.88 and explained > 0.8:
        # The figure may fill the picture. Then it reaches all borders in one piece, and the
        # ground around it and in its holes is in several.
        counts = [_pieces(upper), _pieces(~upper)]
        for half, figure, ground in ((upper, *counts), (~upper, *counts[::-1])):
            if figure == 1 < ground and _fills(half):
                return np.median(flat[~half.ravel()], axis=0), True
    return common, False


def _pieces(mask: Mask) -> int:
    """Count the pieces of a mask, leaving out the tiny ones."""
    sizes = np.unique(label_pieces(mask)[mask], return_counts=True)[1]
    return int((sizes > mask.size // 200).sum())


def _fills(mask: Mask) -> bool:
    """Tell whether a mask reaches all four borders, or nearly."""
    return bool(min(m.any() for m in (mask[:2], mask[-2:], mask[:, :2], mask[:, -2:])))


def _terms(y: NDArray[Any], x: NDArray[Any]) -> NDArray[np.float64]:
    """Return the terms of a quadratic surface, [N, 6], plainest first."""
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1).astype(np.float64)


def _smooth(values: Floats) -> Floats:
    """Blur [H, W, C] over 3x3 pixels, weights 1 2 1, against noise."""
    for axis in (0, 1):
        edge = [(1, 1) if place == axis else (0, 0) for place in range(3)]
        wide = np.pad(values, edge, mode="edge")
        count = values.shape[axis]
        first, middle, last = (np.take(wide, range(i, i + count), axis=axis) for i in range(3))
        values = (first + 2 * middle + last) / 4
    return values


def _without_rules(difference: Floats, least: tuple[int, int]) -> Floats:
    """Take ruled lines out of [H, W, C]: thin, straight, from one border to the other."""
    for count in least:
        height, width = difference.shape[:2]
        line = np.median(difference, axis=1)  # [H, C], blind to a figure on half of the row
        rim = max(2, width // 16)
        ends = np.stack([difference[:, :rim].mean(1), difference[:, -rim:].mean(1)])
        strength = np.abs(line).max(axis=1)
        ruled = (strength > 0.012) & (np.abs(ends - line).max(axis=(0, 2)) < 0.5 * strength)
        thin = ruled & ~_long_runs(ruled, max(4, height // 20))
        if np.count_nonzero(thin & ~np.r_[False, thin[:-1]]) >= count:
            difference = difference - np.where(thin[:, None], line, 0)[:, None, :]
        difference = difference.swapaxes(0, 1)
    return difference


def _long_runs(line: Mask, length: int) -> Mask:
    """Keep the runs of true values in [N] of at least ``length``."""
    starts = np.flatnonzero(line & ~np.r_[False, line[:-1]])
    ends = np.flatnonzero(line & ~np.r_[line[1:], False])
    kept = np.zeros_like(line)
    for start, end in zip(starts, ends, strict=True):
        kept[start : end + 1] = end - start >= length
    return kept


def label_pieces(mask: Mask) -> NDArray[np.int64]:
    """Number the 8-connected pieces of [H, W] from 1; 0 is outside."""
    height, width = mask.shape
    parent = np.arange(height * width)
    index = parent.reshape(mask.shape)
    pairs = []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = (slice(0, height - down), slice(max(0, -right), width - max(0, right)))
        there = (slice(down, height), slice(max(0, right), width + min(0, right)))
        both = mask[here] & mask[there]
        pairs.append(np.stack([index[here][both], index[there][both]]))
    first, second = np.concatenate(pairs, axis=1)
    while first.size:
        low, high = (
            np.minimum(parent[first], parent[second]),
            np.maximum(parent[first], parent[second]),
        )
        open_ = low != high
        first, second = first[open_], second[open_]
        np.minimum.at(parent, high[open_], low[open_])
        while True:
            shorter = parent[parent]
            if np.array_equal(shorter, parent):
                break
            parent = shorter
    return np.where(mask, parent.reshape(mask.shape) + 1, 0)
