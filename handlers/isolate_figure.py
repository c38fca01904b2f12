"""Find one drawn, printed or photographed figure in a picture and frame it as MNIST does.

Ships inside the archive beside the handler, so it needs nothing but numpy and Pillow.

The way there: the picture is looked at in a small copy. While what is found there is small, or is
a card or a frame around something, that place alone is looked at again. What the last look found
is drawn light on dark.
"""

from __future__ import annotations

from figure_arrays import Box
from figure_drawing import drawn
from figure_framed import framed
from figure_look import Look, look_at
from PIL import Image

_LOOKS = 3  # beyond the first one
_FADED = 0.12  # a closer look that finds less than this part of the contrast has found nothing
_LEAST_SIDE = 6  # pixels; too small for any digit


def isolate_figure(image: Image.Image, size: int = 28) -> Image.Image:
    """Return the figure of ``image`` alone, light on dark, framed like an MNIST digit.

    Takes a picture of any size in mode L or RGB. Returns mode L, ``size`` by ``size`` pixels:
    the figure fits a box of 20/28 of the side, keeps its aspect, and its centre of mass lies in
    the middle. A picture without a figure comes back black. The same picture always gives the
    same answer.
    """
    ready = framed(image, size)
    if ready is not None:
        return ready
    if image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    found = _find(image) if min(image.size) >= _LEAST_SIDE else None
    return Image.new("L", (size, size)) if found is None else drawn(found, size)


def _find(image: Image.Image) -> Look | None:
    """Look at the picture, then ever closer at what is in it."""
    look = look_at(image, Box(0, 0, image.width, image.height))
    for _ in range(_LOOKS):
        part = look.closer() if look is not None else None
        closer = look_at(image, part) if part is not None else None
        if look is None or closer is None or closer.strength < _FADED * look.strength:
            break
        look = closer
    return look
