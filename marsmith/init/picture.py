"""A picture to ask a model about when there is no other."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw

_SIZE = 320, 240


def sample_picture() -> bytes:
    """Return a drawn picture, a PNG; always the same."""
    width, _ = _SIZE
    across = Image.linear_gradient("L").rotate(90).resize(_SIZE)
    down = Image.linear_gradient("L").resize(_SIZE)
    image = Image.merge("RGB", (across, down, Image.new("L", _SIZE, 120)))
    draw = ImageDraw.Draw(image)
    draw.ellipse((40, 60, 150, 170), fill=(230, 60, 40))
    draw.rectangle((180, 40, 280, 130), fill=(250, 210, 60))
    draw.polygon([(width // 2, 150), (width - 40, 220), (120, 220)], fill=(40, 90, 200))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
