"""marsmith/answers/pictures.py, and what samples make of it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from marsmith_handlers.image_segmenter import ImageSegmenter
from PIL import Image

from marsmith.answers.pictures import is_data, picture_difference, picture_kind
from marsmith.answers.samples import difference
from tests.codes import tells


def encoded(level: int, kind: str = "PNG", size: tuple[int, int] = (32, 32)) -> bytes:
    """Return a picture with the shades of a lamp, brighter by `level`."""
    shades = Image.radial_gradient("L").point([value // 3 + level for value in range(256)])
    return saved(shades.convert("RGB").resize(size), kind)


def saved(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def mask(mode: str, *values: int) -> Image.Image:
    """Return a picture of 16 x 16 pixels with an area of each value."""
    image = Image.new(mode, (16, 16))
    if mode == "P":
        image.putpalette(bytes(range(256)) * 3)
    for place, value in enumerate(values):
        image.paste(value, (0, 4 * place, 16, 4 * place + 4))
    return image


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (encoded(9), "png"),
        (encoded(9, "JPEG"), "jpg"),
        (encoded(9, "WEBP"), "webp"),
        (encoded(9, "GIF"), "gif"),
        (saved(mask("I;16", 9), "TIFF"), "tiff"),
        (b'{"label": "7"}', None),
        (b"7", None),
        (b"", None),
    ],
)
def test_pictures_are_known_by_their_first_bytes(body: bytes, kind: str | None) -> None:
    assert picture_kind(body) == kind


def test_pictures_are_compared_by_their_values_whatever_their_kind() -> None:
    assert difference(encoded(100), encoded(101, "JPEG"), 0.01) is None
    assert difference(encoded(100), encoded(110), 0.05) is None
    assert tells(difference(encoded(100), encoded(110), 0.01), 0.0392, 0.01)


def test_one_place_that_differs_much_is_told() -> None:
    plain = encoded(0, size=(100, 100))
    image = Image.open(io.BytesIO(plain))
    red, green, blue = image.getpixel((50, 50))  # type: ignore[misc]
    image.putpixel((50, 50), (red + 128, green, blue))
    assert difference(plain, saved(image), 0.01, 0.6) is None
    assert tells(difference(plain, saved(image), 0.01), 0.502, 0.25)


def test_another_size_or_a_damaged_picture_differs() -> None:
    other = picture_difference(encoded(1), encoded(1, size=(32, 33)), 1.0, 1.0)
    assert tells(other, "32 x 32", "32 x 33")
    assert picture_difference(encoded(1), encoded(1)[:40], 1.0, 1.0)
    assert difference(encoded(1), b'{"label": "7"}', 1.0) is not None


@pytest.mark.parametrize(
    "image",
    [mask("P", 1, 2), mask("1", 0, 1), mask("I;16", 7, 60000), mask("L", 1, 2, 3), mask("F", 1, 2)],
    ids=lambda image: image.mode,
)
def test_the_smallest_change_of_data_is_a_difference(image: Image.Image) -> None:
    kind = "TIFF" if image.mode == "F" else "PNG"
    body = saved(image, kind)
    assert is_data(body)
    assert difference(body, saved(image, kind), 0.0) is None
    other = image.copy()
    other.putpixel((5, 3), 0 if image.getpixel((5, 3)) else 1)
    assert picture_difference(body, saved(other, kind), 0.01, 0.25) is None or image.mode == "1"
    said = difference(body, saved(other, kind), 0.5)
    assert said is not None
    assert "at 5, 3" in said


def test_data_differ_by_size_mode_and_palette() -> None:
    body = saved(mask("P", 1, 2))
    assert difference(body, saved(mask("L", 1, 2)), 1.0) is not None
    assert difference(body, saved(mask("P", 1, 2).crop((0, 0, 16, 15))), 1.0) is not None
    recoloured = mask("P", 1, 2)
    recoloured.putpalette(bytes(reversed(range(256))) * 3)
    assert difference(body, saved(recoloured), 1.0) is not None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_with_many_shades_is_no_data(kind: str) -> None:
    image = Image.merge("RGB", [Image.radial_gradient("L"), *[Image.linear_gradient("L")] * 2])
    assert not is_data(saved(image, kind))
    assert not is_data(saved(Image.new("RGB", (4, 4), "red"), "JPEG"))
    assert not is_data(b'{"label": "7"}')
    assert not is_data(saved(image, "PNG")[:40])


def test_a_sample_can_say_what_kind_it_is() -> None:
    body, other = saved(mask("L", 1, 2)), saved(mask("L", 1, 3))
    assert difference(body, other, 0.01, kind="picture") is None
    assert difference(body, other, 0.01, kind="data") is not None
    assert difference(body, other, 0.3, kind="data") is None  # a quarter of the pixels
    assert difference(encoded(1), encoded(2), 0.0, kind="data") is not None


def test_a_depth_map_is_compared_by_shades_where_the_sample_says_so() -> None:
    depths = (Image.new("I;16", (16, 16), level) for level in (40000, 40100, 50000))
    near, nearly, far = map(saved, depths)
    assert difference(near, nearly, 0.01, kind="picture") is None
    assert difference(near, far, 0.01, kind="picture") is not None


@pytest.mark.parametrize("colours", [False, True])
def test_a_mask_of_another_class_is_wrong_whatever_the_tolerance(colours: bool) -> None:
    """As marsmith_handlers' segmenter writes it, for classes that look alike."""
    ids = np.zeros((40, 40), np.uint8)
    ids[10:30, 10:30] = 15
    other = np.where(ids == 15, 16, 0).astype(np.uint8)
    writer = ImageSegmenter.__new__(ImageSegmenter)
    writer.config = ImageSegmenter.Config(mask="colours" if colours else "ids")
    writer.count = 21
    body, wrong = (writer._png(one, []) for one in (ids, other))
    assert difference(body, writer._png(ids, []), 0.01) is None
    assert difference(body, wrong, 0.01) is not None
