"""marsmith_handlers/picture_cost.py: what would take minutes is refused at once."""

from __future__ import annotations

import io
import struct
import time
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from marsmith_handlers.image_codec import open_picture
from marsmith_handlers.image_request import RequestError
from marsmith_handlers.picture_cost import (
    ifd_fits,
    scans,
    without_text,
)
from PIL import Image, PngImagePlugin

from tests.handlers.asking import encoded

MOST = 50_000_000
AT_ONCE = 1.0  # seconds; each of these takes far longer to decode


def _noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def _segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def _scans_again(body: bytes, times: int) -> bytes:
    """Repeat the last scan of a progressive JPEG, with its tables."""
    last = body.rindex(b"\xff\xda")
    table = body.rfind(b"\xff\xc4", 0, last)
    return body[:-2] + body[table:-2] * times + body[-2:]


def _large(body: bytes, side: int) -> bytes:
    """Let a JPEG say that it has so many pixels a side."""
    frame = max(body.find(b"\xff\xc0"), body.find(b"\xff\xc2"))
    return body[: frame + 5] + struct.pack(">HH", side, side) + body[frame + 9 :]


def _tables_flood() -> bytes:
    body = encoded(_noise(8, 8), "JPEG")
    table = body.index(b"\xff\xc4")
    length = 2 + int.from_bytes(body[table + 2 : table + 4], "big")
    return body[:table] + body[table : table + length] * 80_000 + body[table:]


def _same_values() -> bytes:
    """Let 2,000 values of a TIFF be the same megabyte."""
    number, start = 2000, 8 + 2 + 2000 * 12 + 4
    entries = [struct.pack("<HHII", 1000 + i, 7, 1 << 20, start) for i in range(number)]
    directory = struct.pack("<H", number) + b"".join(entries) + bytes(4)
    return b"II*\0\x08\0\0\0" + directory + bytes(1 << 20)


def _many_strips() -> bytes:
    number, start = 200_000, 8 + 2 + 4 * 12 + 4
    values = [(256, 4, 1, 1), (257, 4, 1, number), (273, 4, number, start), (278, 4, 1, 1)]
    directory = struct.pack("<H", 4) + b"".join(struct.pack("<HHII", *one) for one in values)
    return b"II*\0\x08\0\0\0" + directory + bytes(4 + 4 * number)


def _png_of(*chunks: tuple[bytes, bytes], number: int = 1) -> bytes:
    """Put chunks after the header of a PNG."""
    body = encoded(Image.new("L", (4, 4), 9))
    made = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return body[:33] + made * number + body[33:]


def _gif_comment() -> bytes:
    body = encoded(Image.new("L", (4, 4)), "GIF")
    frame = body.index(b",\0\0\0\0")
    return body[:frame] + b"!\xfe" + (b"\xff" + b"a" * 255) * 20_000 + b"\0" + body[frame:]


def _progressive() -> bytes:
    return encoded(_noise(64, 64), "JPEG", progressive=True)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: _large(_scans_again(_progressive(), 60), 6000), "too_many_scans"),
        (lambda: _scans_again(_progressive(), 40_000), "too_many_parts"),
        (_tables_flood, "too_many_parts"),
        (lambda: b"\xff\xd8" + _segment(0xE1, b"Exif\0\0") * 70_000, "too_many_parts"),
        (_same_values, "too_many_parts"),
        (_many_strips, "too_many_parts"),
        (lambda: _png_of((b"abCd", b""), number=70_000), "too_many_parts"),
        (_gif_comment, "too_many_parts"),
        (lambda: b"P2 1500 1500 255\n" + b"7 " * 2_250_000, "too_many_parts"),
        (lambda: b"P5\n#" + b"a" * 8_000_000 + b"\n1 1 255\n1", "too_many_parts"),
    ],
    ids=[
        "scans",
        "small scans",
        "tables",
        "segments",
        "TIFF values",
        "TIFF strips",
        "PNG chunks",
        "GIF comment",
        "PPM text",
        "PPM comment",
    ],
)
def test_what_costs_too_much_is_refused_at_once(make: Callable[[], bytes], code: str) -> None:
    body = make()
    begin = time.process_time()
    with pytest.raises(RequestError) as refusal:
        open_picture(body, MOST)
    assert time.process_time() - begin < AT_ONCE
    assert (refusal.value.status, refusal.value.code) == (413, code)


def test_photos_as_they_are_saved_are_cheap() -> None:
    photo = _noise(640, 480)
    for options in ({}, {"progressive": True}, {"restart_marker_blocks": 1}):
        body = encoded(photo, "JPEG", quality=95, **options)
        picture = open_picture(body, 640 * 480)
        assert picture.cost == 640 * 480
        assert scans(body).pixels <= 12 * 640 * 480
    for kind in ("TIFF", "GIF", "PPM", "PNG", "WEBP", "BMP"):
        assert open_picture(encoded(photo, kind), 640 * 480).cost == 640 * 480
    tiled = encoded(photo, "TIFF", compression="jpeg")
    assert open_picture(tiled, 640 * 480).cost == 640 * 480


def test_scans_of_a_small_picture_count_little() -> None:
    body = _scans_again(_progressive(), 50)
    picture = open_picture(body, MOST)
    assert 64 * 64 < picture.cost < MOST / 64
    with pytest.raises(RequestError) as refusal:
        open_picture(body, 64 * 64, max_scans=1)
    assert refusal.value.code == "too_many_scans"


def test_scans_in_a_tiff_count_too() -> None:
    """A TIFF may hold a JPEG for each strip, and each of them many scans."""
    width, height = 6000, 8000
    jpegs = b"\xff\xd8" + b"\xff\xda" * 100
    values = [(256, 4, 1, width), (257, 4, 1, height), (278, 4, 1, height)]
    directory = struct.pack("<H", 3) + b"".join(struct.pack("<HHII", *one) for one in values)
    assert scans(b"II*\0\x08\0\0\0" + directory + bytes(4) + jpegs).pixels == 100 * 48_000_000


@pytest.mark.parametrize("grey", [False, True])
def test_a_jpeg_without_its_end_mark_is_answered_if_all_pixels_are_there(grey: bool) -> None:
    photo = _noise(50, 30).convert("L" if grey else "RGB")
    body = encoded(photo, "JPEG", quality=90)
    whole = open_picture(body, MOST)
    assert scans(body[:-2]).lacks_end_mark
    assert not scans(body).lacks_end_mark
    assert open_picture(body[:-2], MOST).image.tobytes() == whole.image.tobytes()
    for cut in (20, 200, len(body) // 2):
        with pytest.raises(RequestError) as refusal:
            open_picture(body[:-cut], MOST)
        assert refusal.value.code == "broken_image"


def test_a_progressive_jpeg_without_its_end_mark_may_lack_scans() -> None:
    body = _progressive()
    with pytest.raises(RequestError) as refusal:
        open_picture(body[: body.rindex(b"\xff\xda") - 40], MOST)
    assert refusal.value.code == "broken_image"


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt", b"iCCP"])
def test_megabytes_of_text_in_a_png_are_no_reason_to_refuse_it(name: bytes) -> None:
    packed = zlib.compress(bytes(5_000_000))
    text = {b"iTXt": b"note\0\1\0\0\0", b"zTXt": b"note\0\0", b"iCCP": b"p\0\0"}[name] + packed
    body = _png_of((name, text))
    assert open_picture(body, MOST).image.tobytes() == bytes([9]) * 16


def test_a_png_keeps_what_says_how_it_lies() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    info.add_text("Title", "a" * 100)
    buffer = io.BytesIO()
    Image.new("L", (3, 2)).save(buffer, "PNG", pnginfo=info)
    assert b"Title" not in without_text(buffer.getvalue())
    assert open_picture(buffer.getvalue(), MOST).exif_degree == 270


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_exif_whose_values_do_not_fit_is_not_read() -> None:
    exif = b"Exif\0\0" + _same_values()[: 8 + 2 + 2000 * 12]
    assert not ifd_fits(exif)
    assert ifd_fits(Image.Exif().tobytes())
    body = encoded(Image.new("RGB", (8, 8)), "JPEG")
    with_it = body[:2] + _segment(0xE1, exif) + body[2:]
    assert open_picture(with_it, MOST).size == (8, 8)


@pytest.mark.parametrize(
    "body",
    [
        b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
        b"\xff\x4f\xff\x51\0\x2f" + bytes(40),
        b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40),
        b"\xff\x0a\xfa\x7f" + bytes(40),
        b"II\xbc\1" + bytes(40),
        b"qoif" + bytes(40),
    ],
    ids=["jp2", "j2k", "jxl container", "jxl", "jxr", "qoi"],
)
def test_pictures_of_other_kinds_are_named(body: bytes) -> None:
    with pytest.raises(RequestError) as refusal:
        open_picture(body, MOST)
    assert (refusal.value.status, refusal.value.code) == (415, "unsupported_type")
