"""Recognise pictures by their bytes, and compare them; no IO."""

from __future__ import annotations

import io

_STARTS = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpg",
    b"RIFF": "webp",
    b"GIF8": "gif",
}


def picture_kind(body: bytes) -> str | None:
    """Return a picture's file ending without the dot, or None if it is not a picture."""
    return next((kind for start, kind in _STARTS.items() if body.startswith(start)), None)


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
        first, second = (Image.open(io.BytesIO(one)).convert("RGB") for one in (expected, actual))
    except (OSError, ValueError, SyntaxError):
        return "expected a picture, got one that cannot be decoded"
    if first.size != second.size:
        sizes = ["{} x {}".format(*one.size) for one in (first, second)]
        return f"expected a picture of {sizes[0]} pixels, got {sizes[1]}"
    found = ImageStat.Stat(ImageChops.difference(first, second))
    return sum(found.mean) / 3 / 255, max(high for _, high in found.extrema) / 255


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
