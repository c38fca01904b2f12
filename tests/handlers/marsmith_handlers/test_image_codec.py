"""marsmith_handlers/image_codec.py: pictures of all kinds in, three kinds out."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest
from marsmith_handlers import image_codec
from marsmith_handlers.image_codec import IMAGE_TYPES, encode_image, open_picture
from marsmith_handlers.image_request import RequestError
from PIL import Image, ImageDraw
from pillow_heif import register_heif_opener

from tests.handlers.asking import SEVEN, decoded, encoded

EXIF_ORIENTATION = 0x0112

register_heif_opener()  # so that the tests can write HEIC


def scene(mode: str, size: tuple[int, int] = (48, 32)) -> Image.Image:
    """Draw a picture whose four corners differ, in any mode."""
    image = Image.new("RGB", size, "teal")
    ImageDraw.Draw(image).rectangle((0, 0, size[0] // 3, size[1] // 3), "gold")
    ImageDraw.Draw(image).rectangle((size[0] // 2, size[1] // 2, *size), "navy")
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    if mode in ("LA", "RGBA"):
        return image.convert(mode[:-1]).convert(mode)
    return image.quantize(64) if mode == "P" else image.convert(mode)


KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "PNG 1": ("1", "PNG", {}),
    "PNG L": ("L", "PNG", {}),
    "PNG LA": ("LA", "PNG", {}),
    "PNG P": ("P", "PNG", {}),
    "PNG RGB": ("RGB", "PNG", {}),
    "PNG RGBA": ("RGBA", "PNG", {}),
    "PNG I;16": ("I;16", "PNG", {}),
    "JPEG L": ("L", "JPEG", {}),
    "JPEG RGB": ("RGB", "JPEG", {"quality": 95}),
    "JPEG CMYK": ("CMYK", "JPEG", {"quality": 95}),
    "JPEG progressive": ("RGB", "JPEG", {"progressive": True, "quality": 95}),
    "WebP": ("RGB", "WEBP", {"quality": 95}),
    "WebP lossless": ("RGBA", "WEBP", {"lossless": True}),
    "GIF": ("P", "GIF", {}),
    "BMP": ("RGB", "BMP", {}),
    "TIFF": ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    "TIFF I;16": ("I;16", "TIFF", {}),
    "TIFF F": ("F", "TIFF", {}),
    "PPM": ("RGB", "PPM", {}),
    "AVIF": ("RGB", "AVIF", {"quality": 90}),
    "AVIF RGBA": ("RGBA", "AVIF", {"quality": 90}),
    "HEIC": ("RGB", "HEIF", {"quality": 90}),
    "HEIC L": ("L", "HEIF", {"quality": 90}),
}


@pytest.mark.parametrize(("mode", "kind", "options"), KINDS.values(), ids=KINDS)
def test_all_kinds_of_pictures_come_in(mode: str, kind: str, options: dict[str, Any]) -> None:
    original = scene(mode)
    picture = open_picture(encoded(original, kind, **options), 10_000)
    assert (picture.size, picture.exif_degree) == ((48, 32), 0)
    assert picture.image.mode in ("L", "RGB")
    expected = np.asarray(scene("1" if mode == "1" else "L").convert("L"), dtype=int)
    actual = np.asarray(picture.image.convert("L"), dtype=int)
    assert np.abs(actual - expected).mean() < 6


def test_transparency_is_laid_over_white_or_with_contrast_over_black() -> None:
    for mode, clear in (("RGBA", (0, 0, 0, 0)), ("LA", (0, 0))):
        image = open_picture(encoded(Image.new(mode, (4, 4), clear)), 100).image
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (4, 4), 0)
    image = open_picture(encoded(palette, transparency=0), 100).image
    assert image.getpixel((0, 0)) == (255, 255, 255)
    white_ink = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    white_ink.putpixel((1, 1), (255, 255, 255, 255))
    image = open_picture(encoded(white_ink), 100).image
    assert image.getpixel((0, 0)) == (255, 255, 255)
    image = open_picture(encoded(white_ink), 100, contrast=True).image
    assert (image.getpixel((0, 0)), image.getpixel((1, 1))) == ((0, 0, 0), (255, 255, 255))


def test_sixteen_bits_become_eight() -> None:
    image = open_picture(encoded(Image.new("I;16", (4, 4), 0x8000)), 100).image
    assert (image.mode, image.getpixel((0, 0))) == ("L", 0x80)


@pytest.mark.parametrize(("kind", "values"), [("PNG", (64, 1023)), ("TIFF", (-0.4, 2.8))])
def test_with_contrast_few_levels_are_spread(kind: str, values: tuple[float, float]) -> None:
    """Ten bits in sixteen, and tensors that were normalised already."""
    pixels = np.full((4, 4), values[0], np.uint16 if kind == "PNG" else np.float32)
    pixels[1, 1] = values[1]
    image = open_picture(encoded(Image.fromarray(pixels), kind), 100, contrast=True).image
    assert (image.getpixel((0, 0)), image.getpixel((1, 1))) == (0, 255)


def test_with_contrast_one_level_is_black() -> None:
    body = encoded(Image.new("I;16", (4, 4), 0x8000))
    assert open_picture(body, 100, contrast=True).image.getextrema() == (0, 0)


def test_an_animation_shows_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    for kind in ("GIF", "WEBP", "PNG"):
        options = {"lossless": True} if kind == "WEBP" else {}
        body = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert open_picture(body, 100).image.convert("RGB").getpixel((4, 4)) == (255, 0, 0)


BACK = {
    1: (None, 0),
    2: (Image.Transpose.FLIP_LEFT_RIGHT, 0),
    3: (Image.Transpose.ROTATE_180, 180),
    4: (Image.Transpose.FLIP_TOP_BOTTOM, 180),
    5: (Image.Transpose.TRANSPOSE, 90),
    6: (Image.Transpose.ROTATE_90, 270),
    7: (Image.Transpose.TRANSVERSE, 270),
    8: (Image.Transpose.ROTATE_270, 90),
}


@pytest.mark.parametrize("orientation", BACK)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_exif_orientation_is_honoured(orientation: int, kind: str) -> None:
    upright = scene("RGB")
    back, degree = BACK[orientation]
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    stored = upright if back is None else upright.transpose(back)
    picture = open_picture(encoded(stored, kind, exif=exif), 10_000)
    assert (picture.size, picture.image.size) == ((48, 32), (48, 32))
    assert picture.exif_degree == degree
    distance = np.asarray(picture.image, dtype=int) - np.asarray(upright, dtype=int)
    assert np.abs(distance).mean() < 8


@pytest.mark.parametrize("orientation", BACK)
def test_heic_comes_upright_from_its_decoder(orientation: int) -> None:
    """Its own box says how it lies; EXIF says the same again."""
    upright = scene("RGB")
    back, _ = BACK[orientation]
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    stored = upright if back is None else upright.transpose(back)
    picture = open_picture(encoded(stored, "HEIF", exif=exif.tobytes()), 10_000)
    assert (picture.size, picture.image.size, picture.exif_degree) == ((48, 32), (48, 32), 0)
    distance = np.asarray(picture.image, dtype=int) - np.asarray(upright, dtype=int)
    assert np.abs(distance).mean() < 8


def test_heic_without_its_reader_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    body = encoded(scene("RGB"), "HEIF")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    image_codec._reads_heif.cache_clear()
    try:
        with pytest.raises(RequestError) as caught:
            open_picture(body, 10_000)
    finally:
        image_codec._reads_heif.cache_clear()
    assert (caught.value.status, caught.value.code) == (415, "unsupported_type")
    assert "HEIC" in caught.value.message
    assert "marsmith[heif]" in caught.value.hint


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_too_many_pixels_of_the_newer_kinds_are_refused(kind: str) -> None:
    body = encoded(scene("RGB", (480, 320)), kind)
    with pytest.raises(RequestError) as caught:
        open_picture(body, 480 * 320 - 1)
    assert (caught.value.status, caught.value.code) == (413, "too_many_pixels")
    assert open_picture(body, 480 * 320).cost == 480 * 320


@pytest.mark.parametrize("orientation", [0, 9, 600])
def test_an_orientation_that_does_not_exist_is_none(orientation: int) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    assert open_picture(encoded(scene("RGB"), exif=exif), 10_000).exif_degree == 0


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_damaged_exif_does_not_cost_a_sound_picture() -> None:
    body = encoded(scene("RGB"), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert open_picture(body, 10_000).size == (48, 32)


def test_a_large_jpeg_is_decoded_at_a_reduced_scale_and_looks_the_same() -> None:
    large = scene("RGB", (2400, 1600))
    body = encoded(large, "JPEG", quality=95)
    picture = open_picture(body, 10_000_000, enough=200)
    assert picture.size == (2400, 1600)
    assert picture.image.size == (300, 200)
    small = large.resize((300, 200), Image.Resampling.BOX)
    distance = np.asarray(picture.image, dtype=int) - np.asarray(small, dtype=int)
    assert np.abs(distance).mean() < 3
    assert open_picture(body, 10_000_000, enough=1601).image.size == (2400, 1600)
    assert open_picture(body, 10_000_000).image.size == (2400, 1600)


def test_other_large_pictures_are_not_kept_whole() -> None:
    picture = open_picture(encoded(scene("RGB", (2400, 1600))), 10_000_000, enough=200)
    assert (picture.size, picture.image.size) == ((2400, 1600), (300, 200))


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    header = encoded(Image.new("1", (2_000, 2_000)))[:60]  # there are no pixels behind it
    with pytest.raises(RequestError) as caught:
        open_picture(header, 1_000_000)
    assert (caught.value.status, caught.value.code) == (413, "too_many_pixels")


@pytest.mark.parametrize("size", [(20_000, 20_000), (12_000, 8_000)])
def test_a_picture_that_pillow_itself_warns_of_is_too_large(size: tuple[int, int]) -> None:
    buffer = io.BytesIO()
    Image.new("1", size).save(buffer, "PNG")
    with pytest.raises(RequestError) as caught:
        open_picture(buffer.getvalue(), 50_000_000)
    assert caught.value.status == 413


@pytest.mark.parametrize("length", [1, 20, 100, len(SEVEN) // 2, len(SEVEN) - 40])
def test_a_cut_image_is_the_senders_fault(length: int) -> None:
    with pytest.raises(RequestError) as caught:
        open_picture(SEVEN[:length], 1_000_000)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"%PDF-1.7\n", 415),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", 415),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        (b" <?xml version='1.0'?>", 415),
        (b"8BPS\0\1", 415),
        (b"\0\0\0\x18ftypheic\0\0\0\0", 400),
        (b"\0\0\0\x18ftypqt  \0\0\0\0", 415),
        (b"PK\3\4 and so on", 415),
        (b"\x93NUMPY\1\0", 415),
        (b"words", 400),
        (b"\0" * 100, 400),
        (b"\x89PNG\r\n\x1a\n", 400),
        (b"\xff\xd8\xff\xe0", 400),
    ],
)
def test_what_is_no_picture_is_told_from_kinds_that_are_not_taken(body: bytes, status: int) -> None:
    with pytest.raises(RequestError) as caught:
        open_picture(body, 1_000_000)
    assert caught.value.status == status
    assert caught.value.hint.startswith("send PNG, JPEG")


@pytest.mark.parametrize("content_type", IMAGE_TYPES)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_images_go_out_as_what_was_asked(content_type: str, mode: str) -> None:
    image = scene(mode)
    back = decoded(encode_image(image, content_type))
    assert Image.MIME[back.format or ""] == content_type
    distance = np.asarray(back.convert(mode), dtype=int) - np.asarray(image, dtype=int)
    assert np.abs(distance).mean() < 6


def test_an_image_too_long_for_its_format_is_refused() -> None:
    with pytest.raises(RequestError) as caught:
        encode_image(Image.new("L", (20_000, 1)), "image/webp")
    assert (caught.value.status, caught.value.code) == (406, "too_long")
    assert len(encode_image(Image.new("L", (20_000, 1)), "image/png")) > 0
