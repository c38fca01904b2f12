"""Find one drawn, printed or photographed figure in a picture and frame it as MNIST does.

Ships inside the archive beside the handler, so it needs nothing but numpy and Pillow.

The way there: a reduced copy of the picture shows where the figure is; that place is cut out of
the full picture at a fixed scale and looked at again; what is found there is drawn light on dark.
Both looks tell figure from ground by the colour distance from a smooth background, so neither
dark on light nor any pair of colours is special.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from figure_contrast import Floats, Mask, contrast_of, label_pieces
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

COARSE_SIDE = 288  # pixels of the longer side when looking for the place
FIGURE_SIDE = 84  # pixels of the figure's longer side when looking closely
MARGIN = 0.34  # ground kept around the figure for the close look, in figure sides
FAINTEST = 0.02  # a colour distance that is still a figure, 1 is black to white
MIN_STROKE = 0.10  # thinnest stroke in the result, in figure sides: 2 of 20 pixels


class _Box(NamedTuple):
    """A rectangle in pixels; right and bottom are exclusive."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def side(self) -> float:
        return max(self.right - self.left, self.bottom - self.top)


def isolate_figure(image: Image.Image, size: int = 28) -> Image.Image:
    """Return the figure of ``image`` alone, light on dark, framed like an MNIST digit.

    Takes a picture of any size in mode L or RGB. Returns mode L, ``size`` by ``size`` pixels:
    the figure fits a box of 20/28 of the side, keeps its aspect, and its centre of mass lies in
    the middle. A picture without a figure comes back black. The same picture always gives the
    same answer.
    """
    if image.size == (size, size):
        grey = image if image.mode == "L" else image.convert("L")
        if _is_framed(np.asarray(grey)):
            return grey
        negative = ImageOps.invert(grey)
        if _is_framed(np.asarray(negative)):
            return negative
    if image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    image, small, factor = _prepare(image)
    box = _locate(small, factor) if min(image.size) >= 6 else None  # too small for any digit
    return Image.new("L", (size, size)) if box is None else _draw(image, box, size)


def _is_framed(pixels: NDArray[np.uint8]) -> bool:
    """Tell whether a square grey picture already is a light figure framed like MNIST."""
    size = len(pixels)
    lines = pixels.max(axis=1).tolist(), pixels.max(axis=0).tolist()  # of rows, of columns
    if max(line[end] for line in lines for end in (0, -1)) > 40 or max(lines[0]) < 150:
        return False
    strong = [[i for i, value in enumerate(line) if value > 60] for line in lines]
    longest = max(places[-1] - places[0] + 1 for places in strong)
    if not 0.6 < longest / size < 0.8:
        return False
    total = float(pixels.sum(dtype=np.int64))
    middle = (size - 1) / 2
    offsets = (pixels.sum(axis=axis).dot(np.arange(size)) / total - middle for axis in (0, 1))
    return bool(max(map(abs, offsets)) < 0.07 * size)


def _prepare(image: Image.Image) -> tuple[Image.Image, Image.Image, int]:
    """Cut off a frame; return the picture, a small copy, and how many times smaller that is."""
    factor = max(1, min(-(-max(image.size) // COARSE_SIDE), min(image.size) // 24))
    small = image.reduce(factor) if factor > 1 else image
    pixels = np.asarray(small, dtype=np.float32).reshape(small.height, small.width, -1)
    edge = _frame_width(pixels)
    if edge:
        small = small.crop((edge, edge, small.width - edge, small.height - edge))
        edge *= factor
        image = image.crop((edge, edge, image.width - edge, image.height - edge))
    return image, small, factor


def _locate(small: Image.Image, factor: int) -> _Box | None:
    """Return where the figure is, in pixels of the full picture, seen in the small copy."""
    contrast = contrast_of(small, (2, 2))
    figure = _figure(_strong(contrast, 0.4, share=0.002), contrast)
    return None if figure is None else _Box(*(side * factor for side in _bounds(figure)))


def _draw(image: Image.Image, box: _Box, size: int, depth: int = 2) -> Image.Image:
    """Cut the figure out of the full picture and draw it light on dark, size by size."""
    pad = MARGIN * box.side + 2
    left, top = max(0.0, box.left - pad), max(0.0, box.top - pad)
    right, bottom = min(image.width, box.right + pad), min(image.height, box.bottom + pad)
    scale = FIGURE_SIDE / box.side
    target = (max(8, round((right - left) * scale)), max(8, round((bottom - top) * scale)))
    close = image.resize(
        target, Image.Resampling.BICUBIC, box=(left, top, right, bottom), reducing_gap=2.0
    )
    # Where ground is left on either side, a single line across is a rule; else a stroke may be.
    wide = left > 0 or right < image.width, top > 0 or bottom < image.height
    contrast = contrast_of(close, (1 if wide[0] else 2, 1 if wide[1] else 2))
    figure = _figure(_strong(contrast, 0.5, share=0.02), contrast)
    if figure is None:
        return Image.new("L", (size, size))
    full = float(np.percentile(contrast[figure], 75))
    inner = _within(close, figure, full) if depth else None
    if inner is not None:
        edges = (left, top, left, top)
        place = _Box(*(edge + side / scale for edge, side in zip(edges, inner, strict=True)))
        return _draw(image, place, size, depth - 1)
    # The slope keeps soft edges soft; the widened figure keeps them and drops the specks.
    light = np.clip((contrast / full - 0.25) / 0.5, 0, 1) * _widen(figure, 5)
    return _frame(_thicken(light), size)


def _within(close: Image.Image, figure: Mask, full: float) -> _Box | None:
    """If the figure is a card or a frame, return the place of the figure within it, else None."""
    inside = _inside(figure)
    if inside is None:
        return None
    left, top, right, bottom = (int(edge) for edge in inside)
    contrast = contrast_of(close.crop((left, top, right, bottom)), (2, 2))
    inner = _figure(_strong(contrast, 0.4, share=0.005), contrast)
    if inner is None or float(contrast[inner].mean()) < 0.25 * full:
        return None
    box = _bounds(inner)
    if _touches(box, right - left, bottom - top) or box.side < 6:
        return None
    return _Box(left + box.left, top + box.top, left + box.right, top + box.bottom)


def _frame_width(pixels: Floats) -> int:
    """Return how wide a frame of one colour runs along all four borders of [H, W, C], or 0."""
    height, width = pixels.shape[:2]
    outer: Floats | None = None
    for depth in range(min(height, width) // 10 + 2 if min(height, width) > 12 else 0):
        low, right = height - 1 - depth, width - 1 - depth
        span, tall = slice(depth, right + 1), slice(depth, low + 1)
        lines = [pixels[depth, span], pixels[low, span], pixels[tall, depth], pixels[tall, right]]
        colours = np.stack([np.median(line[::2], axis=0) for line in lines])
        if outer is None:
            outer = np.median(colours, axis=0).astype(np.float32)
            plain = [(np.abs(line - outer).max(axis=1) < 20).mean() for line in lines]
            if min(plain) < 0.9:
                return 0
        elif np.abs(colours - outer).max(axis=1).min() > 20:
            return depth + 1
    return 0


def _strong(contrast: Floats, part: float, share: float) -> Mask:
    """Mark what reaches ``part`` of the contrast that ``share`` of the pixels have."""
    count = max(6, int(share * contrast.size))
    peak = float(np.partition(contrast.ravel(), -count)[-count:].mean())
    return contrast > max(part * peak, FAINTEST)


def _figure(mask: Mask, contrast: Floats) -> Mask | None:
    """Keep the heaviest connected piece of the mask and the large pieces close to it."""
    labels = label_pieces(_widen(mask, 3)) * mask
    names, piece = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        return None
    piece = piece.reshape(mask.shape)
    mass = np.bincount(piece.ravel(), contrast.ravel())
    mass[0] = 0
    rows, columns = np.nonzero(piece)
    low = np.full((len(names), 2), 1 << 20)
    high = np.zeros((len(names), 2), dtype=int)
    where = np.stack([rows, columns], axis=1)
    np.minimum.at(low, piece[rows, columns], where)
    np.maximum.at(high, piece[rows, columns], where + 1)
    # What runs out of the picture is more often a shadow or an edge than the figure.
    limit = np.array(mask.shape)
    sides = (low == 0).sum(axis=1) + (high == limit).sum(axis=1)
    mass *= 0.15 ** np.minimum(sides, 2)
    main = int(mass.argmax())
    near = np.maximum(low - high[main], low[main] - high).max(axis=1)
    kept = (mass > 0.06 * mass[main]) & (near < 0.2 * (high[main] - low[main]).max())
    kept[main], kept[0] = True, False
    result: Mask = kept[piece]
    return result


def _widen(mask: Mask, size: int) -> Mask:
    """Grow a mask by (size - 1) / 2 pixels on every side."""
    grown = Image.fromarray(mask.view(np.uint8)).filter(ImageFilter.MaxFilter(size))
    return np.asarray(grown) > 0


def _bounds(mask: Mask) -> _Box:
    """Return the smallest rectangle that holds the mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return _Box(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


def _touches(box: _Box, width: int, height: int) -> bool:
    """Tell whether a box reaches from one border of the picture to the opposite one."""
    across = box.left <= 1 and box.right >= width - 1
    return across or (box.top <= 1 and box.bottom >= height - 1)


def _inside(figure: Mask) -> _Box | None:
    """Return what lies within if the figure is no digit but a card or a frame, else None."""
    left, top, right, bottom = (int(edge) for edge in _bounds(figure))
    piece = figure[top:bottom, left:right]
    height, width = piece.shape
    rim = max(2, min(height, width) // 8)
    if min(height, width) < 24:
        return None
    sides = (piece[:rim].any(0), piece[-rim:].any(0), piece[:, :rim].any(1), piece[:, -rim:].any(1))
    if min(float(side.mean()) for side in sides) < 0.88:
        return None
    middle = piece[height // 4 : -(height // 4)]
    runs = np.where(middle.all(axis=1), width, (~middle).argmax(axis=1))
    run = int(np.median(runs))
    inset = rim + 1 if run > width // 6 else run + 2
    if 2 * inset > min(height, width) - 12:
        return None
    return _Box(left + inset, top + inset, right - inset, bottom - inset)


def _thicken(light: Floats) -> Floats:
    """Widen the strokes of a thin figure [H, W], which else would fade in the small result."""
    down, right = np.abs(np.diff(light, axis=0)).sum(), np.abs(np.diff(light, axis=1)).sum()
    outline = float(np.hypot(down, right)) * 1.11  # between the two measures of a slanting edge
    stroke = 2 * float(light.sum()) / max(outline, 1e-6)
    missing = MIN_STROKE * _bounds(light > 0.5).side - stroke
    if missing < 1:
        return light
    steps = min(4, round(missing / 2))
    wide = Image.fromarray((light * 255).astype(np.uint8))
    wide = wide.filter(ImageFilter.MaxFilter(2 * steps + 1))
    return np.asarray(wide, dtype=np.float32) / 255


def _frame(light: Floats, size: int) -> Image.Image:
    """Scale the figure [H, W] to 20/28 of the side and put its centre of mass in the middle."""
    half = _bounds(light > 0.5).side * 28 / 20 / 2
    pad = int(np.ceil(half)) + 1
    total = light.sum()
    y = float(light.sum(axis=1) @ np.arange(light.shape[0]) / total) + 0.5 + pad
    x = float(light.sum(axis=0) @ np.arange(light.shape[1]) / total) + 0.5 + pad
    canvas = Image.fromarray(np.pad((light * 255).astype(np.uint8), pad))
    box = (x - half, y - half, x + half, y + half)
    return canvas.resize((size, size), Image.Resampling.BILINEAR, box=box)
