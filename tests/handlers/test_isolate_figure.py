"""What isolate_figure promises: one framing for one figure, whatever the picture around it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "handlers"))

from isolate_figure import isolate_figure  # noqa: E402

Colour = str | tuple[int, int, int]


def page(
    digit: int = 5,
    *,
    ink: Colour = "black",
    paper: Colour = "white",
    height: int = 120,
    size: tuple[int, int] = (240, 200),
    at: tuple[int, int] = (120, 100),
) -> Image.Image:
    """Print a digit into a picture, its middle at a place."""
    image = Image.new("RGB", size, paper)
    font = ImageFont.load_default(height)
    ImageDraw.Draw(image).text(at, str(digit), ink, font, anchor="mm")
    return image


def light(image: Image.Image) -> NDArray[np.float64]:
    """Isolate and return the pixels, 0 to 1."""
    result = isolate_figure(image)
    assert (result.mode, result.size) == ("L", (28, 28))
    return np.asarray(result, dtype=np.float64) / 255


def differ(first: Image.Image, second: Image.Image) -> float:
    """Return how much of the light two isolated figures do not share, 0 to 1."""
    one, two = light(first), light(second)
    assert one.sum() > 20
    return float(np.abs(one - two).sum() / (one.sum() + two.sum()))


def grain(image: Image.Image, deviation: float) -> Image.Image:
    """Add noise, the same every time."""
    pixels = np.asarray(image, dtype=np.float64)
    pixels = pixels + np.random.default_rng(7).normal(0, deviation, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def test_frames_like_mnist() -> None:
    for digit in range(10):
        pixels = light(page(digit))
        rows, columns = (np.flatnonzero(pixels.max(axis=axis) > 0.4) for axis in (1, 0))
        longest = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
        assert 19 <= longest <= 22
        place = np.arange(28)
        assert abs(pixels.sum(axis=1) @ place / pixels.sum() - 13.5) < 0.5
        assert abs(pixels.sum(axis=0) @ place / pixels.sum() - 13.5) < 0.5
        assert pixels.max() > 0.95
        assert max(pixels[0].max(), pixels[-1].max()) < 0.1


@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        ("white", "black"),
        ("navy", "lightyellow"),
        ("yellow", "white"),
        ("blue", "black"),
        ((0, 102, 0), (200, 0, 0)),  # nearly the same luminance
        ((134, 134, 134), (122, 122, 122)),
    ],
)
def test_colours_do_not_matter(ink: Colour, paper: Colour) -> None:
    assert differ(page(), page(ink=ink, paper=paper)) < 0.05


def test_inverting_does_not_matter() -> None:
    image = grain(page(3, ink=(40, 60, 90), paper=(220, 210, 200)), 6)
    assert differ(image, ImageOps.invert(image)) < 0.02


def test_grey_and_rgb_agree() -> None:
    assert differ(page(2), page(2).convert("L")) < 0.01


def test_place_does_not_matter() -> None:
    for at in ((60, 80), (180, 120), (45, 135)):
        assert differ(page(), page(at=at)) < 0.05


@pytest.mark.parametrize("scale", [0.2, 0.5, 2, 6, 16])
def test_size_does_not_matter(scale: float) -> None:
    image = page(
        height=round(120 * scale),
        size=(round(240 * scale), round(200 * scale)),
        at=(round(120 * scale), round(100 * scale)),
    )
    assert differ(page(), image) < 0.1


def test_small_in_a_large_picture() -> None:
    assert differ(page(), page(height=40, size=(1600, 1200), at=(1500, 90))) < 0.1


@pytest.mark.parametrize("size", [(1500, 80), (80, 1500)])
def test_long_pictures(size: tuple[int, int]) -> None:
    assert differ(page(), page(height=60, size=size, at=(40, 40))) < 0.1


def test_figure_that_fills_the_picture() -> None:
    image = page(2, height=160)
    tight = image.crop(ImageOps.invert(image.convert("L")).getbbox())
    assert differ(image, tight) < 0.08


@pytest.mark.parametrize("digit", [2, 3, 4, 8])
def test_figure_near_all_borders_is_no_frame(digit: int) -> None:
    image = page(digit, height=300, size=(400, 400), at=(200, 200))
    tight = image.crop(ImageOps.invert(image.convert("L")).getbbox()).resize((156, 156))
    small = ImageOps.expand(tight.resize((26, 26)), border=1, fill="white")
    assert differ(tight, small) < 0.06


def test_uneven_light() -> None:
    image = np.asarray(page(), dtype=np.float64) * 0.9 + 10
    y, x = np.mgrid[0 : 1 : image.shape[0] * 1j, 0 : 1 : image.shape[1] * 1j]
    lit = Image.fromarray((image * (1 - 0.4 * x - 0.15 * y * y)[:, :, None]).astype(np.uint8))
    assert differ(page(), lit) < 0.08


def test_noise_and_blur() -> None:
    assert differ(page(), grain(page(ink="#555", paper="#bbb"), 15)) < 0.1
    assert differ(page(), page().filter(ImageFilter.GaussianBlur(3))) < 0.12


def test_ruled_paper() -> None:
    image = Image.new("RGB", (600, 400), "white")
    pen = ImageDraw.Draw(image)
    for top in range(12, 400, 36):
        pen.line((0, top, 600, top), (120, 150, 210), 2)
    pen.text((300, 200), "5", "black", ImageFont.load_default(150), anchor="mm")
    assert differ(page(), image) < 0.1


@pytest.mark.parametrize("inset", [0, 9])
def test_thin_frame(inset: int) -> None:
    image = page()
    box = (inset, inset, 239 - inset, 199 - inset)
    ImageDraw.Draw(image).rectangle(box, outline="red", width=3)
    assert differ(page(), image) < 0.06


def test_card_on_a_table() -> None:
    table = Image.new("RGB", (640, 480), (110, 80, 50))
    table.paste(page(), (150, 120))
    assert differ(page(), table) < 0.06


@pytest.mark.parametrize("inset", [6, 20])
def test_thin_line_around_a_small_copy(inset: int) -> None:
    image = page(size=(600, 500), at=(300, 250), height=300)
    ImageDraw.Draw(image).rectangle((inset, inset, 599 - inset, 499 - inset), outline="black")
    assert differ(page(), image) < 0.06


@pytest.mark.parametrize("margin", [5, 20, 35])
def test_framed_digit_on_a_page(margin: int) -> None:
    """As plots show it: MNIST's black square with its digit, in a page that is white."""
    framed = isolate_figure(page(3)).resize((112, 112), Image.Resampling.NEAREST)
    assert differ(framed, ImageOps.expand(framed, border=margin, fill=255)) < 0.12


def test_grey_ground_is_not_framed() -> None:
    """Light grey ground becomes dark grey when it is inverted, not black."""
    image = page(1, ink="black", paper=(236, 236, 236), height=150, size=(200, 200), at=(130, 110))
    assert differ(page(1), image) < 0.05


def test_figure_beside_the_border_of_a_card() -> None:
    table = Image.new("RGB", (640, 480), (110, 80, 50))
    card = page(6, size=(200, 240), at=(55, 120), height=120)
    table.paste(card, (150, 120))
    assert differ(page(6), table) < 0.06


def test_the_larger_of_two_figures_is_taken() -> None:
    image = page(5, size=(480, 200))
    ImageDraw.Draw(image).text((380, 100), "7", "black", ImageFont.load_default(60), anchor="mm")
    assert differ(page(5), image) < 0.06


def test_specks_are_not_the_figure() -> None:
    image = page()
    for x, y in ((12, 12), (220, 20), (20, 180), (215, 170)):
        ImageDraw.Draw(image).ellipse((x, y, x + 6, y + 6), "black")
    assert differ(page(), image) < 0.03


def test_drop_shadow() -> None:
    image = page(ink="#bbb")
    image = image.transform(
        image.size, Image.Transform.AFFINE, (1, 0, -5, 0, 1, -5), fillcolor="white"
    )
    ImageDraw.Draw(image).text((120, 100), "5", "black", ImageFont.load_default(120), anchor="mm")
    assert differ(page(), image) < 0.1


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("size", [(1, 1), (2, 50), (28, 28), (640, 480)])
@pytest.mark.parametrize("value", [0, 127, 255])
def test_one_flat_colour_is_black(mode: str, size: tuple[int, int], value: int) -> None:
    flat = Image.new(mode, size, value if mode == "L" else (value, value, 90))
    assert light(flat).max() == 0


def test_tiny_picture() -> None:
    assert differ(page(7), page(7, height=20, size=(20, 20), at=(10, 10))) < 0.2


def test_any_pixels_give_an_answer() -> None:
    rng = np.random.default_rng(1)
    for size in ((1, 1), (3, 5), (6, 6), (7, 400), (33, 28), (200, 300)):
        noise = Image.fromarray(rng.integers(0, 256, (*size, 3)).astype(np.uint8))
        assert light(noise).shape == (28, 28)


def test_framed_picture_comes_back_unchanged() -> None:
    framed = isolate_figure(page(8))
    assert isolate_figure(framed).tobytes() == framed.tobytes()
    assert isolate_figure(ImageOps.invert(framed)).tobytes() == framed.tobytes()
    assert isolate_figure(framed.convert("RGB")).tobytes() == framed.tobytes()


def test_thin_strokes_do_not_fade() -> None:
    image = Image.new("RGB", (800, 600), "white")
    ImageDraw.Draw(image).line([(200, 100), (500, 100), (350, 500)], "black", 3)
    assert light(image).max() > 0.8


def test_other_sizes() -> None:
    result = isolate_figure(page(4), 56)
    assert result.size == (56, 56)
    half = np.asarray(result.resize((28, 28), Image.Resampling.BOX), dtype=np.float64) / 255
    assert np.abs(half - light(page(4))).mean() < 0.03


def test_needs_nothing_but_numpy_and_pillow() -> None:
    files = [*(ROOT / "handlers").glob("figure_*.py"), ROOT / "handlers" / "isolate_figure.py"]
    names: set[str] = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(str(node.module))
    own = {file.stem for file in files} | {"__future__", "collections", "functools", "typing"}
    assert {name.split(".")[0] for name in names} <= own | {"numpy", "PIL"}
