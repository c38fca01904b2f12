"""Find one drawn, printed or photographed figure in a picture and frame it as MNIST does.

Ships inside the archive beside the handler, so it needs nothing but numpy and Pillow.

The way there: the picture is looked at in a small copy. While what is found there is small, or is
a card or a frame around something, that place alone is looked at again. What the last look found
is drawn light on dark.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from figure_contrast import contrast_of
from figure_pieces import Floats, Mask, pieces_of
from numpy.typing import NDArray
from PIL import Image

LOOK_SIDE = 92  # pixels of the side of what is looked at; if it is no square, its area is the same
LOOKS = 3  # beyond the first one
WORTH = 0.6  # a closer look must look at less than this share of the pixels
MARGIN = 0.34  # ground kept around the figure for a closer look, in figure sides
FADED = 0.12  # a closer look that finds less than this part of the contrast has found nothing
FAINTEST = 0.02  # a colour distance that is still a figure, 1 is black to white
_ROOM = 8  # pixels around a figure that is drawn, where it may get wider
MIN_STROKE = 0.10  # thinnest stroke in the result, in figure sides: 2 of 20 pixels


class _Box(NamedTuple):
    """A rectangle in pixels; right and bottom are exclusive."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def size(self) -> tuple[float, float]:
        return self.right - self.left, self.bottom - self.top

    @property
    def side(self) -> float:
        return max(self.size)

    @property
    def area(self) -> float:
        return self.size[0] * self.size[1]

    def grown(self, margin: float) -> _Box:
        return _Box(
            self.left - margin, self.top - margin, self.right + margin, self.bottom + margin
        )

    def within(self, other: _Box) -> _Box:
        """Return what both have in common."""
        low = max(self.left, other.left), max(self.top, other.top)
        return _Box(*low, min(self.right, other.right), min(self.bottom, other.bottom))


class _Look(NamedTuple):
    """What was found in a part of the picture: [H, W], ``scale`` times the size of that part."""

    part: _Box
    contrast: Floats
    figure: Mask
    scale: float

    @property
    def strength(self) -> float:
        """The contrast of the figure, where it is not at its faintest."""
        found = self.contrast[self.figure]
        high = len(found) * 3 // 4
        return float(np.partition(found, high)[high])

    def place(self, box: _Box) -> _Box:
        """Return where a box of the look is in the picture."""
        left, top, right, bottom = (side / self.scale for side in box)
        x, y = self.part.left, self.part.top
        return _Box(left + x, top + y, right + x, bottom + y)


def isolate_figure(image: Image.Image, size: int = 28) -> Image.Image:
    """Return the figure of ``image`` alone, light on dark, framed like an MNIST digit.

    Takes a picture of any size in mode L or RGB. Returns mode L, ``size`` by ``size`` pixels:
    the figure fits a box of 20/28 of the side, keeps its aspect, and its centre of mass lies in
    the middle. A picture without a figure comes back black. The same picture always gives the
    same answer.
    """
    ready = _ready(image, size) if image.width == image.height >= size else None
    if ready is not None:
        return ready
    if image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    found = _find(image) if min(image.size) >= 6 else None  # else too small for any digit
    return Image.new("L", (size, size)) if found is None else _draw(found, size)


def _ready(image: Image.Image, size: int) -> Image.Image | None:
    """Return a square picture in grey, at that size, if it is framed like MNIST already."""
    grey = image if image.mode == "L" else image.convert("L")
    if grey.width != size:
        grey = grey.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=1.0)
    pixels = np.asarray(grey)
    if _is_framed(pixels):
        return grey
    dark = 255 - pixels
    return Image.fromarray(dark) if _is_framed(dark) else None


def _is_framed(pixels: NDArray[np.uint8]) -> bool:
    """Tell whether a square grey picture already is a light figure framed like MNIST."""
    size = len(pixels)
    lines = pixels.max(axis=1), pixels.max(axis=0)  # of rows, of columns
    if max(int(line[end]) for line in lines for end in (0, -1)) > 25 or int(lines[0].max()) < 200:
        return False
    strong = [np.flatnonzero(line > 60) for line in lines]
    longest = max(int(places[-1] - places[0]) + 1 for places in strong)
    if not 0.6 < longest / size < 0.8 or np.count_nonzero(pixels > 12) > 0.6 * longest * longest:
        return False  # the latter is a card, or a grey ground
    steps = np.arange(size) - (size - 1) / 2
    offsets = (abs(float(pixels.sum(axis=axis).dot(steps))) for axis in (0, 1))
    return max(offsets) < 0.07 * size * float(pixels.sum(dtype=np.int64))


def _find(image: Image.Image) -> _Look | None:
    """Look at the picture, then ever closer at what is in it."""
    look = _look(image, _Box(0, 0, image.width, image.height))
    for _ in range(LOOKS):
        part = _closer(look) if look is not None else None
        closer = _look(image, part) if part is not None else None
        if look is None or closer is None or closer.strength < FADED * look.strength:
            break
        look = closer
    return look


def _look(image: Image.Image, part: _Box) -> _Look | None:
    """Find the figure in a part of the picture; None if there is none."""
    scale = LOOK_SIDE / part.area**0.5
    target = (max(8, round(part.size[0] * scale)), max(8, round(part.size[1] * scale)))
    small = image.resize(target, Image.Resampling.BICUBIC, box=part, reducing_gap=1.0)
    for _ in range(2):  # ground around a frame counts as one more frame
        edge = _frame_width(small)
        if not edge:
            break
        small = small.crop((edge, edge, small.width - edge, small.height - edge))
        part = part.grown(-edge / scale)
    # Where ground is left on either side, a single line across is a rule; else a stroke may be.
    wide = part.size[0] < image.width, part.size[1] < image.height
    contrast = contrast_of(small, (1 if wide[0] else 2, 1 if wide[1] else 2))
    figure = _figure(contrast)
    return None if figure is None else _Look(part, contrast, figure, scale)


def _frame_width(image: Image.Image) -> int:
    """Return how wide a frame of one colour runs along all four borders, or 0."""
    pixels = np.asarray(image).reshape(image.height, image.width, -1)
    turned = pixels.transpose(1, 0, 2)
    ring = np.concatenate([pixels[0], pixels[-1], turned[0], turned[-1]]).astype(np.float32)
    colour = np.partition(ring[::2], len(ring) // 4, axis=0)[len(ring) // 4]
    same = (np.abs(ring - colour) < 20).all(axis=1)
    if np.count_nonzero(same) < 0.95 * len(same):
        return 0
    depth = min(image.size) // 10 + 2
    bands = [side[:depth] for side in (pixels, pixels[::-1], turned, turned[::-1])]
    other = [(np.abs(band.mean(axis=1) - colour) > 20).any(axis=1) for band in bands]
    if not all(map(np.any, other)):
        return 0
    # A figure that fills the picture also differs near all borders, but not from end to end.
    lines = [(np.abs(band - colour) > 20).any(axis=2).mean(axis=1) > 0.7 for band in bands]
    if not all(map(np.any, lines)):
        return 0
    width = 1 + max(int(one.argmax()) for one in other)
    # A line is soft in a small copy: its other half would be taken for a part of the ground.
    ends = np.flatnonzero(~np.all(lines, axis=0)[width:])
    return width + int(ends[0]) if len(ends) else width


def _closer(look: _Look) -> _Box | None:
    """Return what to look at next, None if this look was close enough."""
    inside = _inside(look.figure)
    if inside is not None:
        return look.place(inside)
    place = look.place(_bounds(look.figure))
    closer = place.grown(MARGIN * place.side + 2).within(look.part)
    return closer if closer.area < WORTH * look.part.area else None


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
    # A frame is as wide on both sides. On a card the figure may lie near one side, not near both.
    holes = ~np.stack([middle, middle[:, ::-1]])
    runs = np.where(holes.any(axis=2), holes.argmax(axis=2), width).max(axis=0)
    run = int(np.sort(runs)[len(runs) * 3 // 4])
    inset = 3 if run > width // 6 else run + 2
    if 2 * inset > min(height, width) - 12:
        return None
    return _Box(left + inset, top + inset, right - inset, bottom - inset)


def _figure(contrast: Floats) -> Mask | None:
    """Keep the heaviest connected piece of what is strong, and the large pieces close to it."""
    count = max(6, contrast.size // 100)
    peak = float(np.partition(contrast.ravel(), -count)[-count:].mean())
    mask = contrast > max(0.45 * peak, FAINTEST)
    pieces = pieces_of(_widen(mask), contrast * mask)
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
    return pieces.mask(kept) & mask


def _widen(light: NDArray[Any]) -> NDArray[Any]:
    """Give each pixel of [H, W] the most that it or one of its eight neighbours has."""
    for _ in range(2):
        wide = light.copy()
        np.maximum(wide[1:], light[:-1], out=wide[1:])
        np.maximum(wide[:-1], light[1:], out=wide[:-1])
        light = wide.T
    return light


def _bounds(mask: Mask) -> _Box:
    """Return the smallest rectangle that holds the mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return _Box(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


def _draw(look: _Look, size: int) -> Image.Image:
    """Draw what was found light on dark, size by size."""
    whole = _Box(0, 0, *look.figure.shape[::-1])
    left, top, right, bottom = map(int, _bounds(look.figure).grown(_ROOM).within(whole))
    figure, contrast = (one[top:bottom, left:right] for one in (look.figure, look.contrast))
    # The slope keeps soft edges soft; the widened figure keeps them and drops the specks.
    light = np.clip((contrast / look.strength - 0.25) / 0.5, 0, 1) * _widen(_widen(figure))
    return _frame(_thicken(light), size)


def _thicken(light: Floats) -> Floats:
    """Widen the strokes of a thin figure [H, W], which else would fade in the small result."""
    down, right = np.abs(np.diff(light, axis=0)).sum(), np.abs(np.diff(light, axis=1)).sum()
    outline = float(np.hypot(down, right)) * 1.11  # between the two measures of a slanting edge
    stroke = 2 * float(light.sum()) / max(outline, 1e-6)
    missing = MIN_STROKE * _bounds(light > 0.5).side - stroke
    for _ in range(min(4, round(missing / 2)) if missing >= 1 else 0):
        light = _widen(light)
    return light


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
