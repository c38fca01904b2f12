"""One colour per class index, and names drawn on pictures in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_BITS = 8


def palette(count: int) -> NDArray[np.uint8]:
    """Return the colours [count, 3] of the PASCAL VOC data set: class 0, the ground, is black."""
    index = np.arange(count)
    colours = np.zeros((count, 3), np.uint8)
    for place in range(_BITS):
        for channel in range(3):
            bit = (index >> (3 * place + channel)) & 1
            colours[:, channel] |= (bit << (_BITS - 1 - place)).astype(np.uint8)
    return colours


def colour_name(index: int) -> str:
    """Return a class' colour as "#rrggbb"."""
    colour: bytes = palette(index + 1)[index].tobytes()
    return f"#{colour.hex()}"


def draw_boxes(image: Image.Image, boxes: list[dict[str, Any]]) -> Image.Image:
    """Return a copy of an image with each {"box", "label", "index", "score"} drawn on it."""
    drawn = image.convert("RGB").copy()
    line = max(2, round(max(image.size) / 300))
    font = ImageFont.load_default(max(10, 5 * line))
    draw = ImageDraw.Draw(drawn)
    for one in reversed(boxes):  # the surest lies on top
        colour = colour_name(one["index"])
        draw.rectangle(one["box"], outline=colour, width=line)
        text = f"{one['label']} {one['score']:.2f}"
        left, top, *_ = one["box"]
        place = (left + line, max(0.0, top - 6 * line))
        draw.rectangle(draw.textbbox(place, text, font), fill=colour)
        draw.text(place, text, fill="white" if _is_dark(colour) else "black", font=font)
    return drawn


def _is_dark(colour: str) -> bool:
    red, green, blue = bytes.fromhex(colour[1:])
    return 0.299 * red + 0.587 * green + 0.114 * blue < 128
