#!/usr/bin/env python3
"""Make the sample requests: two digits drawn here, and three photos that ship with scikit-image.

The digits are drawn from a few points each, so they belong to nobody else; the photos are in the
public domain: a cat by Stéfan van der Walt and a rocket by SpaceX (CC0), an astronaut by NASA. No
chance is involved: every run writes the same pictures. The photos need the development packages:
scripts/setup dev
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import skimage
from PIL import Image, ImageChops, ImageDraw, ImageFilter

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
Point = tuple[float, float]


def curve(points: Sequence[Point], steps: int = 24) -> list[Point]:
    """Lay a smooth line through the points (Catmull-Rom)."""
    ends = [points[0], *points, points[-1]]
    line: list[Point] = []
    for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        for step in range(steps):
            t = step / steps
            x, y = (
                0.5 * (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t**2)
                + 0.5 * (3 * q - p - 3 * r + s) * t**3
                for p, q, r, s in zip(a, b, c, d, strict=True)
            )
            line.append((x, y))
    return [*line, points[-1]]


def stroke(pen: ImageDraw.ImageDraw, points: Sequence[Point], width: float) -> None:
    """Draw a line whose width swells and shrinks a little, as under a hand."""
    for number, (x, y) in enumerate(points):
        radius = width / 2 * (1 + 0.13 * math.sin(number / 9))
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)


def seven() -> Image.Image:
    """Draw a 7 framed as in MNIST: white on black, 28x28 pixels, mode L, its mass in the middle."""
    large = Image.new("L", (560, 560))
    pen = ImageDraw.Draw(large)
    stroke(pen, curve([(155, 212), (162, 190), (260, 192), (392, 176)], 60), 46)
    stroke(pen, curve([(392, 176), (362, 252), (308, 340), (270, 470)], 60), 46)
    return large.resize((28, 28), Image.Resampling.BOX)


def paper(width: int, height: int) -> Image.Image:
    """Make light paper, brighter at the upper left, with a faint grain."""
    light = Image.radial_gradient("L").resize((2 * width, 2 * height))
    light = ImageChops.invert(light).crop(
        (width // 2, height // 2, width * 3 // 2, height * 3 // 2)
    )
    grain = Image.new("L", (width, height))
    grain.putdata(
        [
            128 + (x * 7919 + y * 104729 + x * y * 31) % 23 - 11
            for y in range(height)
            for x in range(width)
        ]
    )
    grain = grain.filter(ImageFilter.GaussianBlur(0.8))
    shade = Image.blend(light.point(lambda v: 150 + v * 0.36), grain.point(lambda v: 96 + v), 0.3)
    bands = (shade.point(lambda v, k=k: min(255, v * k)) for k in (1.03, 1.0, 0.94))
    return Image.merge("RGB", tuple(bands))


def three_photo() -> Image.Image:
    """Draw a 3 in dark blue ink as if photographed, 640x480 pixels, mode RGB."""
    ink = Image.new("L", (640, 480))
    points = [(352, 118), (392, 92), (437, 104), (440, 148), (396, 184), (380, 190)]
    stroke(ImageDraw.Draw(ink), curve(points), 13)
    points = [(380, 190), (430, 196), (456, 236), (432, 284), (384, 296), (346, 272)]
    stroke(ImageDraw.Draw(ink), curve(points), 13)
    ink = ink.filter(ImageFilter.GaussianBlur(1.4))
    page = paper(640, 480)
    page.paste(Image.new("RGB", page.size, (28, 38, 96)), mask=ink.point(lambda v: v * 0.92))
    return page.rotate(3, Image.Resampling.BICUBIC, fillcolor=(196, 190, 178))


def photo(name: str, width: int) -> Image.Image:
    """Return one of scikit-image's photos, so many pixels wide."""
    image = Image.open(Path(skimage.__file__).parent / "data" / name).convert("RGB")
    height = round(image.height * width / image.width)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def main() -> None:
    """Write all pictures."""
    SAMPLES.mkdir(exist_ok=True)
    photo("chelsea.png", 450).save(SAMPLES / "cat.jpg", quality=85)
    photo("rocket.jpg", 320).save(SAMPLES / "rocket.jpg", quality=85)
    turned = photo("astronaut.png", 320).transpose(Image.Transpose.ROTATE_270)
    turned.save(SAMPLES / "astronaut-turned.jpg", quality=85)
    seven().save(SAMPLES / "seven.png", optimize=True)
    three_photo().save(SAMPLES / "three-photo.jpg", quality=88)
    print(f"wrote five pictures to {SAMPLES.name}/")


if __name__ == "__main__":
    main()
