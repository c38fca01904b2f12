"""Recognise pictures by their bytes, and compare them; no IO."""

from __future__ import annotations

import io
from functools import reduce
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

_NOT_DECODED = "expected a picture, got one that cannot be decoded"
_STARTS = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpg",
    b"RIFF": "webp",
    b"GIF8": "gif",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
}
_LOSSY = "jpg"
# Modes of Pillow whose values are no shades: indices, bits, depths.
_DATA_MODES = ("1", "P", "PA", "I", "F", "I;16", "I;16B", "I;16L")
_FEW = 64  # colours; a mask has no more classes, and no picture of a camera has so few
_PIXELS = 8  # for each of them, on average: the smallest pictures have few colours anyway
_BYTES = {1: "L", 2: "LA", 3: "RGB", 4: "CMYK"}  # modes that hold any bytes


def picture_kind(body: bytes) -> str | None:
    """Return a picture's file ending without the dot, or None if it is not a picture."""
    return next((kind for start, kind in _STARTS.items() if body.startswith(start)), None)


def is_data(body: bytes) -> bool:
    """Whether a picture holds data, such as a mask: a palette, bits, depths, or few values.

    Then the smallest difference of a value is another class, and not another shade.
    """
    from PIL import Image

    if picture_kind(body) in (None, _LOSSY):
        return False
    try:
        with Image.open(io.BytesIO(body)) as image:
            colours = image.getcolors(_FEW) if image.mode not in _DATA_MODES else []
            few = colours is not None and _PIXELS * len(colours) <= image.width * image.height
            return image.mode in _DATA_MODES or few
    except (OSError, ValueError, SyntaxError):
        return False


def data_difference(expected: bytes, actual: bytes, share: float = 0.0) -> str | None:
    """Return in one line how two pictures of data differ, or None if they do not.

    At most `share` of their pixels may differ. Size, mode and palette must be equal.
    """
    measured = measure_data(expected, actual)
    if isinstance(measured, str):
        return measured
    differing, first = measured
    return f"{differing:.2%} of the pixels differ, {first}" if differing > share else None


def measure_data(expected: bytes, actual: bytes) -> tuple[float, str] | str:
    """Return the share of pixels that differ and the first of them, or why none is comparable."""
    from PIL import Image, ImageChops

    try:
        opened = [Image.open(io.BytesIO(one)) for one in (expected, actual)]
        pair = [one.convert("L" if one.mode == "1" else one.mode) for one in opened]
        values = [one.tobytes() for one in pair]
    except (OSError, ValueError, SyntaxError):
        return _NOT_DECODED
    first, second = pair
    if first.size != second.size:
        return _sizes(first.size, second.size)
    if first.mode != second.mode:
        return f"expected a picture of mode {first.mode}, got {second.mode}"
    if first.getpalette() != second.getpalette():
        return "the picture has another palette"
    mode = _BYTES[len(values[0]) // (first.width * first.height)]
    bytewise = (Image.frombytes(mode, first.size, one) for one in values)
    bands = ImageChops.difference(*bytewise).split()
    differs = reduce(ImageChops.lighter, bands)
    if (box := differs.getbbox()) is None:
        return 0.0, ""
    row = differs.crop((0, box[1], differs.width, box[1] + 1)).getbbox()
    place = (row[0] if row else box[0], box[1])
    was, now = (one.getpixel(place) for one in pair)
    share = sum(differs.histogram()[1:]) / (first.width * first.height)
    return share, f"the first at {place[0]}, {place[1]}: expected {was}, got {now}"


def picture_difference(
    expected: bytes, actual: bytes, tolerance: float, largest: float
) -> str | None:
    """Return in one line how two pictures differ, or None if they do not.

    They must have the same size, and values 0…1 that differ by at most `tolerance` on average and
    by `largest` anywhere: machines encode the same picture to slightly different values.
    """
    measured = measure_pictures(expected, actual)
    if isinstance(measured, str):
        return measured
    if measured[0] > tolerance:
        return f"the picture differs by {measured[0]:.4f} on average, more than {tolerance:g}"
    if measured[1] > largest:
        return f"the picture differs by {measured[1]:.3f} at one place, more than {largest:g}"
    return None


def measure_pictures(expected: bytes, actual: bytes) -> tuple[float, float] | str:
    """Return how far values 0…1 differ, on average and at most, or why they cannot be compared."""
    from PIL import Image, ImageChops, ImageStat  # few answers are pictures

    try:
        first, second = (_shades(Image.open(io.BytesIO(one))) for one in (expected, actual))
    except (OSError, ValueError, SyntaxError):
        return _NOT_DECODED
    if first.size != second.size:
        return _sizes(first.size, second.size)
    found = ImageStat.Stat(ImageChops.difference(first, second))
    return sum(found.mean) / 3 / 255, max(high for _, high in found.extrema) / 255


def _shades(image: Image) -> Image:
    """Return a picture in RGB; of 16 bits, the upper 8 are left, where Pillow would clip."""
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    return image.convert("RGB")


def _sizes(expected: tuple[int, int], actual: tuple[int, int]) -> str:
    sizes = ["{} x {}".format(*one) for one in (expected, actual)]
    return f"expected a picture of {sizes[0]} pixels, got {sizes[1]}"


def picture_sheet(titles: tuple[str, ...], rows: list[list[bytes | None]]) -> bytes:
    """Return a PNG with one row of pictures for each list; None leaves a cell empty."""
    from PIL import Image, ImageDraw

    side, head = 320, 24
    columns = max(max(i + 1 for i, one in enumerate(row) if one) for row in rows)
    sheet = Image.new("RGB", (side * columns, head + side * len(rows)), "white")
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles[:columns]):
        pen.text((side * column + 6, 6), title, "black")
    for number, row in enumerate(rows):
        for column, body in enumerate(row):
            if body and picture_kind(body):
                picture = Image.open(io.BytesIO(body)).convert("RGB")
                picture.thumbnail((side - 8, side - 8))
                sheet.paste(picture, (side * column + 4, head + side * number + 4))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()
