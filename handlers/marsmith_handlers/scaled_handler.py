"""The base of handlers whose pictures may keep their shape on the way to the model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from marsmith_handlers.arrays import Array
from marsmith_handlers.image_codec import Picture
from marsmith_handlers.image_config import ImageConfig
from marsmith_handlers.image_handler import ImageHandler


class ScaledHandler(ImageHandler):
    """For models that take pictures of any size."""

    @dataclass(frozen=True)
    class Config(ImageConfig):
        """With `longest_side`, pictures keep their shape.

        They are scaled down to at most so many pixels and padded to a `multiple`. With 0, every
        picture is stretched to `size`.
        """

        longest_side: int = 0
        multiple: int = 32

    def enough(self, content_type: str) -> int | None:
        """Return the side that the model sees."""
        side: int = self.config.longest_side or max(self.config.size)
        return side

    def prepare(self, picture: Picture) -> Array:
        """Scale and normalise a picture; one that keeps its shape is padded by its own border."""
        if not self.config.longest_side:
            return super().prepare(picture)
        width, height = self.inner_size(picture)
        image = picture.image
        if image.mode != self.config.mode:
            image = image.convert(self.config.mode)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        right, below = -width % self.config.multiple, -height % self.config.multiple
        pixels = self.normalise(image)
        if not (right or below):
            return pixels
        return np.pad(pixels, ((0, 0), (0, below), (0, right)), mode="edge")

    def inner_size(self, picture: Picture) -> tuple[int, int]:
        """Return the (width, height) that a picture has within the model's input."""
        if not self.config.longest_side:
            height, width = self.config.size
            return width, height
        scale = min(1.0, self.config.longest_side / max(picture.size))
        width, height = (max(1, round(side * scale)) for side in picture.size)
        return width, height
