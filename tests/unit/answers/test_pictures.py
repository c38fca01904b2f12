"""marsmith/answers/pictures.py, and what samples make of it."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from marsmith.answers.pictures import picture_difference, picture_kind
from marsmith.answers.samples import difference


def encoded(level: int, kind: str = "PNG", size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (encoded(9), "png"),
        (encoded(9, "JPEG"), "jpg"),
        (encoded(9, "WEBP"), "webp"),
        (encoded(9, "GIF"), "gif"),
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
    assert difference(encoded(100), encoded(110), 0.01) == (
        "the picture differs by 0.0392 on average, more than 0.01"
    )


def test_one_place_that_differs_much_is_told() -> None:
    image = Image.new("RGB", (100, 100))
    image.putpixel((50, 50), (128, 0, 0))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    plain = encoded(0, size=(100, 100))
    assert difference(plain, buffer.getvalue(), 0.01, 0.6) is None
    assert difference(plain, buffer.getvalue(), 0.01) == (
        "the picture differs by 0.502 at one place, more than 0.25"
    )


def test_another_size_or_a_damaged_picture_differs() -> None:
    assert picture_difference(encoded(1), encoded(1, size=(8, 9)), 1.0, 1.0) == (
        "expected a picture of 8 x 8 pixels, got 8 x 9"
    )
    said = picture_difference(encoded(1), encoded(1)[:40], 1.0, 1.0)
    assert said is not None
    assert "cannot be decoded" in said
    assert difference(encoded(1), b'{"label": "7"}', 1.0) is not None
