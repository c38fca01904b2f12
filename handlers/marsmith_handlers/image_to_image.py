"""Images to images: a picture comes back redrawn, at the size it came in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from marsmith_handlers.arrays import Array, all_finite
from marsmith_handlers.image_codec import IMAGE_TYPES, Picture
from marsmith_handlers.image_response import JSON, write_image
from marsmith_handlers.scaled_handler import ScaledHandler


class ImageToImage(ScaledHandler):
    """For models whose output is one image [C, H, W] per image, of the size of the input."""

    @dataclass(frozen=True)
    class Config(ScaledHandler.Config):
        """How the model's outputs become values in 0…1: output * output_std + output_mean.

        `keep_tones` gives each channel of an output the mean and spread that it has in the input: a
        model with instance norm never saw them (Reinhard et al., Color Transfer between Images,
        2001).
        """

        output_mean: float = 0.0
        output_std: float = 1.0
        keep_tones: bool = False

    content_types = (*IMAGE_TYPES, JSON)
    channels_last = False  # instance norm is slower on it

    def infer(self, batch: Array) -> Any:
        """Run the model on [N, C, H, W]; the outputs come back as values around 0…1."""
        values = super().infer(batch) * np.float32(self.config.output_std)
        values += np.float32(self.config.output_mean)
        if not self.config.keep_tones:
            return values
        spread, mean = _spread_and_mean(batch * self.std + self.mean)
        own_spread, own_mean = _spread_and_mean(values)
        values -= own_mean
        values *= spread / (own_spread + np.float32(1e-3))
        values += mean
        return values

    def answers(self, outputs: Any, pictures: list[Picture | None]) -> list[Any]:
        """Turn [N, C, H, W] into N images, without the padding."""
        if not all_finite(outputs):
            raise ValueError("the model's output holds NaN or infinite values")
        values = outputs.clip(0, 1)
        values *= 255
        images = [_image(planes) for planes in np.rint(values, out=values).astype(np.uint8)]
        pairs = zip(images, pictures, strict=True)
        return [self._without_padding(image, picture) for image, picture in pairs]

    def _without_padding(self, image: Image.Image, picture: Picture | None) -> Image.Image:
        inner = self.inner_size(picture) if picture else image.size
        return image if inner == image.size else image.crop((0, 0, *inner))

    def write(self, answer: Any, picture: Picture | None, content_type: str) -> Any:
        """Write the image at the size its picture came in."""
        if picture and answer.size != picture.size:
            answer = answer.resize(picture.size, Image.Resampling.BICUBIC)
        return write_image(answer, content_type)


def _image(planes: NDArray[np.uint8]) -> Image.Image:
    """Make an image of [1, H, W] or [3, H, W]; Pillow joins planes faster than NumPy moves them."""
    bands = [Image.fromarray(plane) for plane in planes]
    return bands[0] if len(bands) == 1 else Image.merge("RGB", bands)


def _spread_and_mean(images: Array) -> tuple[Array, Array]:
    """Return the standard deviation and the mean of each channel, [N, C, 1, 1] both."""
    mean = images.mean(axis=(2, 3), keepdims=True, dtype=np.float64)
    squares = np.square(images - mean.astype(np.float32)).mean(
        axis=(2, 3), keepdims=True, dtype=np.float64
    )
    return np.sqrt(squares).astype(np.float32), mean.astype(np.float32)
