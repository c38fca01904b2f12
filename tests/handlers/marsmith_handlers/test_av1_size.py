"""marsmith_handlers/av1_size.py: a small AVIF that is coded large is refused before decoding."""

from __future__ import annotations

import io
import struct
import time
from contextlib import suppress

import pytest
from marsmith_handlers.av1_size import coded_pixels
from marsmith_handlers.image_codec import open_picture
from marsmith_handlers.image_request import RequestError
from PIL import Image
from pillow_heif import register_heif_opener

from tests.handlers.asking import encoded

register_heif_opener()
MOST_PARTS = 1000


def _says(body: bytes, width: int, height: int) -> bytes:
    """Let all boxes that name a size name this one."""
    changed, place = bytearray(body), 0
    while (place := body.find(b"ispe", place) + 4) > 3:
        changed[place + 4 : place + 12] = struct.pack(">II", width, height)
    return bytes(changed)


@pytest.mark.parametrize(
    ("mode", "size", "times"),
    [("RGB", (64, 48), 1), ("RGBA", (300, 77), 2), ("L", (1, 1), 1), ("RGB", (1023, 513), 1)],
)
def test_the_pixels_are_those_of_the_coded_pictures(
    mode: str, size: tuple[int, int], times: int
) -> None:
    body = encoded(Image.new(mode, size), "AVIF")
    assert coded_pixels(body, MOST_PARTS) == times * size[0] * size[1]
    assert coded_pixels(_says(body, 5, 7), MOST_PARTS) == times * size[0] * size[1]


def test_an_animation_counts_its_frames_size_rounded_up() -> None:
    stream = io.BytesIO()
    frames = [Image.new("RGB", (600, 500), tone) for tone in ("red", "green", "blue")]
    frames[0].save(stream, "AVIF", save_all=True, append_images=frames[1:])
    assert coded_pixels(stream.getvalue(), MOST_PARTS) >= 600 * 500
    assert open_picture(stream.getvalue(), 600 * 500).size == (600, 500)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_a_picture_larger_than_it_says_is_not_decoded(kind: str) -> None:
    body = _says(encoded(Image.new("RGB", (2048, 1024), "teal"), kind, quality=10), 32, 32)
    begun = time.process_time()
    with pytest.raises(RequestError) as caught:
        open_picture(body, 400_000)
    assert time.process_time() - begun < 0.2
    assert caught.value.status == (413 if kind == "AVIF" else 400)


def test_more_parts_than_allowed_are_refused() -> None:
    body = encoded(Image.new("RGB", (64, 48)), "AVIF")
    with pytest.raises(ValueError, match="parts"):
        coded_pixels(body + struct.pack(">I4s", 8, b"free") * MOST_PARTS, MOST_PARTS)
    with pytest.raises(RequestError) as caught:
        open_picture(body + struct.pack(">I4s", 8, b"free") * 70_000, 10_000)
    assert (caught.value.status, caught.value.code) == (413, "too_many_parts")


def test_items_that_share_their_bytes_are_refused() -> None:
    """Each would have to be joined anew."""
    extent = struct.pack(">II", 0, 0)
    item = struct.pack(">HHH", 1, 0, 200) + 200 * extent
    iloc = struct.pack(">IHH", 0, 0x4400, 1) + item
    inner = bytes(4) + struct.pack(">I4s", 8 + len(iloc), b"iloc") + iloc
    body = struct.pack(">I4s", 8 + len(inner), b"meta") + inner
    with pytest.raises(ValueError, match="overlap"):
        coded_pixels(body, MOST_PARTS)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_damaged_file_never_ends_in_another_error(mode: str) -> None:
    body = encoded(Image.new(mode, (64, 48), "gold"), "AVIF")
    for place in range(len(body)):
        assert coded_pixels(body[:place], MOST_PARTS) <= 2 * 64 * 48
        for value in (0, 255):
            with suppress(ValueError):
                coded_pixels(body[:place] + bytes([value]) + body[place + 1 :], MOST_PARTS)
