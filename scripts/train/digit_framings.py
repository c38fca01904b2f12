"""The ways in which a digit may come: how it is framed, coloured, disturbed and photographed.

Each takes a digit framed as MNIST's are, square and light on black, and returns a picture. The
randomness comes from the generator handed in.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np
from digit_scenes import choose_colours, draw_figures, print_figures
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

Framing = Callable[[Image.Image, np.random.Generator], Image.Image]
_METHODS = (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
_DRAWN_SIDE = 560  # pixels of drawn and printed digits, which are sharper than MNIST's


def framed(mask: Image.Image, side: int = _DRAWN_SIDE) -> Image.Image:
    """Frame a figure (light on black, cut out) as MNIST does, in a square of that side."""
    cut = _resized(mask, side * 20 / 28)
    pixels = np.asarray(cut, dtype=np.float64)
    x, y = (
        float(np.average(np.arange(pixels.shape[a]), weights=pixels.sum(1 - a))) for a in (1, 0)
    )
    page = Image.new("L", (side, side))
    page.paste(cut, (round(side / 2 - x), round(side / 2 - y)))
    return page


def own_digits(rng: np.random.Generator, count: int) -> Iterator[tuple[Image.Image, int]]:
    """Yield so many (digit, label), framed: half printed in the fonts at hand, half drawn."""
    printed = list({mask.tobytes(): (mask, label) for mask, label in print_figures(192)}.values())
    chosen = rng.permutation(len(printed))[: count // 2]
    drawn = draw_figures(rng, count - len(chosen))
    for mask, label in chain((printed[number] for number in chosen), drawn):
        yield framed(mask), label


def plain(digit: Image.Image, _: np.random.Generator) -> Image.Image:
    """28x28 as MNIST has it."""
    return digit if digit.width == 28 else digit.resize((28, 28), Image.Resampling.BOX)


def inverted(digit: Image.Image, rng: np.random.Generator) -> Image.Image:
    """28x28, dark on light."""
    return ImageOps.invert(plain(digit, rng))


def off_centre(digit: Image.Image, rng: np.random.Generator) -> Image.Image:
    """28x28, of another size than MNIST frames it, anywhere in the picture."""
    return _either(_pasted(digit, rng.uniform(16, 27), (28, 28), rng), rng)


def enlarged(digit: Image.Image, rng: np.random.Generator) -> Image.Image:
    """28 to 1,024 pixels, scaled by any of the usual methods."""
    return _either(_scaled(digit, rng), rng)


def placed(digit: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A digit anywhere in a larger picture, light on dark or dark on light."""
    size = _side(rng, 56), _side(rng, 56)
    least = max(16, 0.12 * max(size))
    return _either(_pasted(digit, rng.uniform(least, max(least, min(size))), size, rng), rng)


def coloured(digit: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Two colours, as bright as each other in one of three."""
    return _painted(_scaled(digit, rng), rng)


def noisy(digit: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Grain of up to a tenth of the way from black to white, in colours."""
    pixels = np.asarray(_painted(_scaled(digit, rng), rng), dtype=np.float32)
    return _image(pixels + rng.normal(0, rng.uniform(5, 25), pixels.shape))


def jpeg(digit: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A JPEG of low quality, in colours that differ in brightness: it keeps little of others."""
    picture = _mixed(_scaled(digit, rng), *choose_colours(rng, ""))
    return _compressed(picture, int(rng.integers(20, 70)))


def uneven(digit: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Light that falls off from one side."""
    return _lit(_painted(_scaled(digit, rng), rng), rng)


def paper(digit: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Paper with a coarse grain."""
    return _grained(_painted(_scaled(digit, rng), rng), rng)


def pen(digit: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A thinner or a thicker pen."""
    large = digit.resize((280, 280), Image.Resampling.BICUBIC)
    wider = rng.random() < 0.5
    steps = 2 * int(rng.integers(2, 5 if wider else 4)) + 1
    changed = large.filter(ImageFilter.MaxFilter(steps) if wider else ImageFilter.MinFilter(steps))
    if np.asarray(changed).max() < 200:
        changed = large  # the pen was thin already
    return _either(_scaled(changed, rng), rng)


def perspective(digit: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Seen from one side: straight lines stay so, parallel ones do not."""
    return _either(_tilted(_scaled(digit, rng), rng), rng)


def photographed(digit: Image.Image, rng: np.random.Generator) -> Image.Image:
    """All that a telephone's camera does to a digit on paper."""
    side = int(rng.integers(480, 1025))
    page = Image.new("L", (side, side * 3 // 4))
    size = int(side * rng.uniform(0.25, 0.74))
    page.paste(
        _tilted(digit.resize((size, size), Image.Resampling.BICUBIC), rng),
        (int(rng.integers(side - size + 1)), int(rng.integers(page.height - size + 1))),
    )
    page = page.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.015) * size))
    ink, ground = rng.uniform(0, 90, 3), rng.uniform(165, 255) * rng.uniform(0.85, 1, 3)
    photo = _lit(_grained(_mixed(page, ink, ground), rng), rng)
    pixels = np.asarray(photo, dtype=np.float32)
    return _compressed(_image(pixels + rng.normal(0, rng.uniform(2, 8), pixels.shape)), 85)


FRAMINGS: dict[str, Framing] = {
    "plain": plain,
    "inverted": inverted,
    "off-centre": off_centre,
    "enlarged": enlarged,
    "coloured ground": coloured,
    "noisy": noisy,
    "JPEG": jpeg,
    "placed": placed,
    "uneven light": uneven,
    "paper": paper,
    "thin or thick pen": pen,
    "perspective": perspective,
    "photographed": photographed,
}


def _resized(mask: Image.Image, longest: float) -> Image.Image:
    width, height = (max(1, round(side * longest / max(mask.size))) for side in mask.size)
    return mask.resize((width, height), Image.Resampling.BICUBIC)


def _pasted(
    digit: Image.Image, longest: float, size: tuple[int, int], rng: np.random.Generator
) -> Image.Image:
    """Put the figure, that long, anywhere in a black page."""
    cut = _resized(digit.crop(digit.getbbox()), min(longest, *size))
    room = (int(rng.integers(1 + whole - part)) for whole, part in zip(size, cut.size, strict=True))
    page = Image.new("L", size)
    left, top = room
    page.paste(cut, (left, top))
    return page


def _side(rng: np.random.Generator, least: int = 28) -> int:
    return round(float(np.exp(rng.uniform(np.log(least), np.log(1024)))))


def _scaled(digit: Image.Image, rng: np.random.Generator) -> Image.Image:
    side = _side(rng)
    return digit.resize((side, side), _METHODS[int(rng.integers(3))])


def _either(page: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageOps.invert(page) if rng.random() < 0.5 else page


def _painted(mask: Image.Image, rng: np.random.Generator) -> Image.Image:
    kind = "equal luminance" if rng.random() < 1 / 3 else ""
    return _mixed(mask, *choose_colours(rng, kind))


def _mixed(mask: Image.Image, ink: NDArray[np.float64], ground: NDArray[np.float64]) -> Image.Image:
    cover = np.asarray(mask, dtype=np.float32)[:, :, None] / 255
    return _image(ground + cover * (ink - ground))


def _image(pixels: NDArray[np.floating]) -> Image.Image:
    return Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))


def _lit(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    y, x = np.mgrid[-1 : 1 : picture.height * 1j, -1 : 1 : picture.width * 1j]
    turn = rng.uniform(0, 2 * np.pi)
    slope = x * np.cos(turn) + y * np.sin(turn)
    light = 1 + rng.uniform(0.1, 0.35) * slope - rng.uniform(0, 0.2) * (x * x + y * y)
    return _image(np.asarray(picture, dtype=np.float32) * light[:, :, None])


def _grained(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    step = max(1, picture.width // 120)
    grain = rng.normal(0, 1, (picture.height // step + 1, picture.width // step + 1))
    coarse = Image.fromarray(grain.astype(np.float32)).resize(
        picture.size, Image.Resampling.BICUBIC
    )
    pixels = np.asarray(picture, dtype=np.float32)
    return _image(pixels + rng.uniform(3, 12) * np.asarray(coarse)[:, :, None])


def _tilted(page: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Move each corner by up to a tenth of the side; what comes in from outside is black."""
    width, height = page.size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=float)
    moved = corners + rng.uniform(-0.1, 0.1, (4, 2)) * page.size
    rows = []
    for (x, y), (u, v) in zip(corners, moved, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    turn = np.linalg.solve(np.array(rows), moved.ravel())
    return page.transform(
        page.size, Image.Transform.PERSPECTIVE, tuple(turn), Image.Resampling.BICUBIC
    )


def _compressed(picture: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    stream.seek(0)
    image = Image.open(stream)
    image.load()
    return image
