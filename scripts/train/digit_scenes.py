"""Pictures to train the digit model on and to measure it with: made here, from nothing or digits.

``print_figures`` and ``draw_figures`` make figures of their own; ``make_scene`` puts any figure
into a picture the way somebody might photograph, scan or draw it; ``augment`` varies small framed
pictures. The randomness of the first three comes from the generator handed in, that of
``augment`` from torch.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (the usual name for it)
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import Tensor

SCENES = (
    "dark on light",
    "light on dark",
    "equal luminance",
    "place and size",
    "uneven light",
    "noise",
    "blur",
    "JPEG",
    "paper grain",
    "ruled paper",
    "frame",
    "shadow",
    "specks",
    "filling",
)
FONT_DIRS = ("/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts", "C:/Windows/Fonts")

# Strokes of each digit in a box of 1 by 1.4, y downward; points are joined by straight lines.
_ARC = {
    "o": [(0.5 + 0.45 * np.sin(t), 0.7 - 0.65 * np.cos(t)) for t in np.linspace(0, 6.28, 25)],
    "up": [(0.5 + 0.36 * np.sin(t), 0.36 - 0.31 * np.cos(t)) for t in np.linspace(0, 6.28, 21)],
    "low": [(0.5 + 0.42 * np.sin(t), 1.0 - 0.35 * np.cos(t)) for t in np.linspace(0, 6.28, 21)],
    "3up": [(0.45 + 0.4 * np.sin(t), 0.36 - 0.32 * np.cos(t)) for t in np.linspace(-1.2, 3, 15)],
    "3low": [(0.45 + 0.45 * np.sin(t), 1.0 - 0.36 * np.cos(t)) for t in np.linspace(0, 4.2, 15)],
    "2": [(0.48 + 0.42 * np.sin(t), 0.42 - 0.38 * np.cos(t)) for t in np.linspace(-1.3, 2.1, 13)],
    "5": [(0.42 + 0.48 * np.sin(t), 0.95 - 0.4 * np.cos(t)) for t in np.linspace(-0.7, 4, 15)],
    "6": [(0.5 + 0.4 * np.sin(t), 0.98 - 0.38 * np.cos(t)) for t in np.linspace(-1.5, 4.9, 21)],
    "9": [(0.5 + 0.4 * np.sin(t), 0.42 - 0.38 * np.cos(t)) for t in np.linspace(1.6, 8, 21)],
}
STROKES: dict[int, list[list[list[tuple[float, float]]]]] = {
    0: [[_ARC["o"]]],
    1: [
        [[(0.5, 0), (0.5, 1.4)]],
        [[(0.25, 0.3), (0.55, 0), (0.55, 1.4)]],
        [[(0.2, 0.3), (0.5, 0), (0.5, 1.4)], [(0.15, 1.4), (0.85, 1.4)]],
    ],
    2: [
        [[*_ARC["2"], (0.05, 1.38), (0.95, 1.38)]],
        [[(0.05, 0.3), (0.3, 0.03), (0.7, 0.03), (0.9, 0.35), (0.05, 1.38), (0.95, 1.38)]],
    ],
    3: [
        [_ARC["3up"], _ARC["3low"]],
        [[(0.05, 0.03), (0.9, 0.03), (0.42, 0.58), *_ARC["3low"][3:]]],
    ],
    4: [
        [[(0.7, 1.4), (0.7, 0), (0.05, 0.95), (0.98, 0.95)]],
        [[(0.15, 0), (0.08, 0.75), (0.95, 0.75)], [(0.75, 0.1), (0.75, 1.4)]],
    ],
    5: [[[(0.9, 0.03), (0.15, 0.03), (0.1, 0.65), *_ARC["5"]]]],
    6: [
        [[(0.75, 0.02), (0.35, 0.35), (0.12, 0.75), *_ARC["6"]]],
        [[(0.85, 0.12), (0.55, 0.02), (0.22, 0.25), (0.1, 0.7), *_ARC["6"]]],
    ],
    7: [
        [[(0.05, 0.03), (0.95, 0.03), (0.4, 1.4)]],
        [[(0.05, 0.03), (0.95, 0.03), (0.4, 1.4)], [(0.3, 0.72), (0.85, 0.72)]],
        [[(0.05, 0.25), (0.05, 0.03), (0.95, 0.03), (0.55, 0.7), (0.45, 1.4)]],
    ],
    8: [[_ARC["up"], _ARC["low"]]],
    9: [
        [[*_ARC["9"], (0.85, 1.0), (0.75, 1.4)]],
        [[*_ARC["9"], (0.88, 0.9), (0.6, 1.35), (0.2, 1.3)]],
    ],
}


def fonts(size: int) -> list[ImageFont.FreeTypeFont | ImageFont.ImageFont]:
    """Return Pillow's own font and the plain Latin ones of this machine, by name."""
    found: list[ImageFont.FreeTypeFont | ImageFont.ImageFont] = [ImageFont.load_default(size)]
    for folder in FONT_DIRS:
        for path in sorted(Path(folder).rglob("*.ttf")):
            if not any(word in path.name.lower() for word in ("symbol", "emoji", "math", "icon")):
                found.append(ImageFont.truetype(str(path), size))
    return found


def print_figures(size: int = 96) -> Iterator[tuple[Image.Image, int]]:
    """Yield (mask, digit) for the ten digits in every font; mode L, cut to the figure.

    Pillow's own font comes eight times as often as any other, and every font once in outlines.
    """
    found = fonts(size)
    for number, font in enumerate([found[0]] * 7 + found + found):
        hollow = number >= 7 + len(found)
        for digit in range(10):
            mask = Image.new("L", (2 * size, 2 * size))
            pen, start = ImageDraw.Draw(mask), (size // 2, size // 2)
            pen.text(start, str(digit), 255, font, stroke_width=2 if hollow else 0)
            if hollow:
                pen.text(start, str(digit), 0, font)
            box = mask.getbbox()
            if box is not None:
                yield mask.crop(box), digit


def draw_figures(rng: np.random.Generator, count: int) -> Iterator[tuple[Image.Image, int]]:
    """Yield (mask, digit) of digits drawn with lines of any width; mode L, cut to the figure."""
    for number in range(count):
        digit = number % 10
        forms = STROKES[digit]
        form = forms[int(rng.integers(len(forms)))]
        width = int(rng.integers(4, 56))
        height, aspect = 200, rng.uniform(0.75, 1.1)
        bend = rng.normal(0, 0.03, (2, 2))
        mask = Image.new("L", (480, 480))
        pen = ImageDraw.Draw(mask)
        for stroke in form:
            points = np.array(stroke) + rng.normal(0, 0.012, (len(stroke), 2))
            points = points + np.sin(points[:, ::-1] * 3 + rng.uniform(0, 6)) @ bend
            line = [(100 + x * height * aspect, 100 + y * height) for x, y in points]
            pen.line(line, fill=255, width=width, joint="curve")
            if rng.random() < 0.7:  # round ends, as most pens make them
                for x, y in (line[0], line[-1]):
                    r = width / 2
                    pen.ellipse((x - r, y - r, x + r, y + r), fill=255)
        box = mask.getbbox()
        if box is not None:
            yield mask.crop(box), digit


def choose_colours(
    rng: np.random.Generator, kind: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Choose the colours of figure and ground, each [3] in 0..255."""
    weights = np.array([0.299, 0.587, 0.114])
    while True:
        figure, ground = rng.uniform(0, 255, (2, 3))
        step = float((ground - figure) @ weights)
        apart = float(np.linalg.norm(ground - figure))
        if kind == "equal luminance":
            if abs(step) < 12 and apart > 110:
                return figure, ground
        elif abs(step) > 70:
            wanted: dict[str, float] = {
                "light on dark": -1,
                "dark on light": 1,
                "ruled paper": 1,
                "shadow": 1,
            }
            if wanted.get(kind, float(np.sign(step))) * step > 0:
                return figure, ground


def make_scene(mask: Image.Image, kind: str, rng: np.random.Generator) -> Image.Image:
    """Put a figure (mode L, light on black) into a picture of one of the kinds in ``SCENES``."""
    longest = float(np.exp(rng.uniform(np.log(20), np.log(2000))))
    if kind != "place and size":
        longest = min(longest, 500.0)
    width, height = longest, longest * rng.uniform(0.6, 1)
    if rng.random() < 0.4:
        width, height = height, width
    width, height = max(20, round(width)), max(20, round(height))
    least = max(16.0 if kind in ("noise", "JPEG", "blur", "ruled paper") else 12.0, 0.12 * longest)
    scale = rng.uniform(min(least, 0.8 * min(width, height)), 0.9 * min(width, height))
    mask = mask.crop(mask.getbbox())
    scale /= max(mask.size)
    if kind == "filling":  # the picture ends where the figure does, or a little later
        scale = longest / max(mask.size)
        rim = rng.uniform(0, 0.06) * longest if rng.random() < 0.7 else 0
        width, height = (max(20, round(side * scale + rim)) for side in mask.size)
    mask = mask.resize(
        (
            min(width, max(2, round(mask.width * scale))),
            min(height, max(2, round(mask.height * scale))),
        ),
        Image.Resampling.BICUBIC,
    )
    room = (width - mask.width, height - mask.height)
    place = (int(rng.integers(room[0] + 1)), int(rng.integers(room[1] + 1)))
    alpha = np.zeros((height, width, 1))
    cover = np.asarray(mask, dtype=np.float64)[:, :, None] / 255
    alpha[place[1] : place[1] + mask.height, place[0] : place[0] + mask.width] = cover
    figure, ground = choose_colours(rng, kind)
    side = max(mask.size)
    back = _background(kind, ground, figure, (height, width), side, rng)
    if kind == "shadow":
        step = max(1, round(side * rng.uniform(0.02, 0.08)))
        soft = Image.fromarray((np.roll(alpha, (step, step), (0, 1))[:, :, 0] * 255).astype("u1"))
        soft = soft.filter(ImageFilter.GaussianBlur(side * 0.02))
        back = back * (1 - rng.uniform(0.15, 0.4) * np.asarray(soft)[:, :, None] / 255)
    picture = back * (1 - alpha) + figure * alpha
    return _spoil(picture, kind, rng, side)


def _background(
    kind: str,
    ground: NDArray[np.float64],
    figure: NDArray[np.float64],
    shape: tuple[int, int],
    side: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Paint the ground [H, W, 3] of a picture."""
    height, width = shape
    back: NDArray[np.float64] = np.broadcast_to(ground, (height, width, 3)).copy()
    if kind == "ruled paper":
        gap = int(rng.uniform(0.25, 0.6) * side) + 4
        thick = max(1, round(side / 60))
        for top in range(int(rng.integers(gap)), height, gap):
            back[top : top + thick] += rng.uniform(0.25, 0.5) * (figure - ground)
    if kind == "frame":
        thick = max(1, round(min(shape) * rng.uniform(0.005, 0.03)))
        colour = rng.uniform(0, 255, 3)
        back[:thick] = back[-thick:] = back[:, :thick] = back[:, -thick:] = colour
    if kind == "specks":
        for _ in range(int(rng.integers(3, 12))):
            y, x = int(rng.integers(height)), int(rng.integers(width))
            r = max(1, round(side * 0.02))
            back[y : y + r, x : x + r] = figure
    return back


def _spoil(
    picture: NDArray[np.float64], kind: str, rng: np.random.Generator, side: int
) -> Image.Image:
    """Give a painted picture [H, W, 3] the faults of its kind."""
    height, width = picture.shape[:2]
    if kind == "uneven light":
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        turn = rng.uniform(0, 2 * np.pi)
        slope = x * np.cos(turn) + y * np.sin(turn)
        light = 1 + rng.uniform(0.1, 0.35) * slope - rng.uniform(0, 0.2) * (x * x + y * y)
        picture = picture * light[:, :, None]
    if kind == "noise":
        picture = picture + rng.normal(0, rng.uniform(4, 22), picture.shape)
    if kind == "paper grain":
        grain = rng.normal(0, 1, (height // 3 + 1, width // 3 + 1))
        coarse = Image.fromarray(grain.astype(np.float32)).resize((width, height), 3)
        picture = picture + rng.uniform(3, 14) * np.asarray(coarse)[:, :, None]
    image = Image.fromarray(np.clip(picture + 0.5, 0, 255).astype(np.uint8))
    if kind == "blur":
        image = image.filter(ImageFilter.GaussianBlur(side * rng.uniform(0.01, 0.045)))
    if kind == "JPEG":
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=int(rng.integers(15, 60)))
        image = Image.open(io.BytesIO(stream.getvalue()))
        image.load()
    return image


def augment(batch: Tensor) -> Tensor:
    """Vary pictures [N, 1, 28, 28] of 0..1: place, shape, stroke, sharpness, brightness, noise."""
    count = len(batch)

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(count).uniform_(low, high)

    strength = (torch.rand(count) < 0.8).float()  # a fifth is only moved a little
    turn, shear = uniform(-0.26, 0.26) * strength, uniform(-0.25, 0.25) * strength
    wide, high = (1 + uniform(-0.18, 0.22) * strength for _ in range(2))
    cos, sin = turn.cos(), turn.sin()
    rows = [cos * wide, (shear * cos - sin) * wide, uniform(-0.16, 0.16)]
    rows += [sin * high, (shear * sin + cos) * high, uniform(-0.16, 0.16)]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(batch.shape), False)
    bend = torch.randn(count, 2, 5, 5) * 0.035 * strength.view(-1, 1, 1, 1)
    bend = F.interpolate(bend, (28, 28), mode="bicubic", align_corners=True)
    batch = F.grid_sample(batch, grid + bend.permute(0, 2, 3, 1), align_corners=False)
    thick = (uniform(-1.2, 1.6) * strength).view(-1, 1, 1, 1)
    thicker, thinner = F.max_pool2d(batch, 3, 1, 1), -F.max_pool2d(-batch, 3, 1, 1)
    batch = (
        batch + thick.clamp(0, 1) * (thicker - batch) + (-thick).clamp(0, 0.7) * (thinner - batch)
    )
    blur = (uniform(-1, 1) * strength).clamp(0).view(-1, 1, 1, 1)
    batch = batch + blur * (F.avg_pool2d(batch, 3, 1, 1) - batch)
    gamma = (1 + uniform(-0.4, 0.8) * strength).view(-1, 1, 1, 1)
    bright = (1 - uniform(-0.2, 0.5).clamp(0) * strength).view(-1, 1, 1, 1)
    noise = (uniform(-0.1, 0.1) * strength).clamp(0).view(-1, 1, 1, 1)
    batch = bright * batch.clamp(1e-6, 1) ** gamma + noise * torch.randn_like(batch)
    return batch.clamp(0, 1)
