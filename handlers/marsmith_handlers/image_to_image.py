"""Images to images: a picture comes back redrawn, at the size it came in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch.nn.functional import pad

from marsmith_handlers.image_codec import IMAGE_TYPES, Picture
from marsmith_handlers.image_handler import ImageConfig, ImageHandler
from marsmith_handlers.image_response import JSON, write_image


class ImageToImage(ImageHandler):
    """For models whose output is one image [C, H, W] per image, of the size of the input."""

    @dataclass(frozen=True)
    class Config(ImageConfig):
        """How pictures go in, and how the model's outputs become values in 0…1.

        With `longest_side`, pictures keep their shape: scaled down to at most so many pixels and
        padded to a `multiple`. Without, every picture is stretched to `size`. `keep_tones` gives
        each channel of an output the mean and spread that it has in the input: a model with
        instance norm never saw them (Reinhard et al., Color Transfer between Images, 2001).
        """

        longest_side: int = 0
        multiple: int = 32
        output_mean: float = 0.0  # value in 0…1 = output * output_std + output_mean
        output_std: float = 1.0
        keep_tones: bool = False

    content_types = (*IMAGE_TYPES, JSON)
    channels_last = False  # instance norm is slower on it

    def enough(self, content_type: str) -> int | None:
        """Return the side that the model sees."""
        side: int = self.config.longest_side or max(self.config.size)
        return side

    def prepare(self, picture: Picture) -> torch.Tensor:
        """Scale and normalise a picture; one that keeps its shape is padded by its own border."""
        if not self.config.longest_side:
            return super().prepare(picture)
        width, height = self._inner(picture)
        image = picture.image.convert(self.config.mode)
        pixels = self.normalise(image.resize((width, height), Image.Resampling.BILINEAR))
        missing = (-width % self.config.multiple, -height % self.config.multiple)
        return pad(pixels[None], (0, missing[0], 0, missing[1]), mode="replicate")[0]

    def infer(self, batch: torch.Tensor) -> torch.Tensor:
        """Run the model on [N, C, H, W]; the outputs come back as values around 0…1."""
        outputs = super().infer(batch).float()
        values = outputs.mul(self.config.output_std).add(self.config.output_mean)
        if not self.config.keep_tones:
            return values
        spread, mean = _spread_and_mean(batch * self.std + self.mean)
        own_spread, own_mean = _spread_and_mean(values)
        return (values - own_mean) / (own_spread + 1e-3) * spread + mean

    def answers(self, outputs: torch.Tensor, pictures: list[Picture | None]) -> list[Any]:
        """Turn [N, C, H, W] into N images, without the padding."""
        if not outputs.isfinite().all():
            raise ValueError("the model's output holds NaN or infinite values")
        pixels = outputs.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
        images = [Image.fromarray(one[..., 0] if one.shape[2] == 1 else one) for one in pixels]
        if not self.config.longest_side:
            return images
        pairs = zip(images, pictures, strict=True)
        return [image.crop((0, 0, *self._inner(p))) if p else image for image, p in pairs]

    def write(self, answer: Any, picture: Picture | None, content_type: str) -> Any:
        """Write the image at the size its picture came in."""
        if picture and answer.size != picture.size:
            answer = answer.resize(picture.size, Image.Resampling.BICUBIC)
        return write_image(answer, content_type)

    def _inner(self, picture: Picture) -> tuple[int, int]:
        """Return the (width, height) that a picture has within the model's input."""
        scale = min(1.0, self.config.longest_side / max(picture.size))
        width, height = (max(1, round(side * scale)) for side in picture.size)
        return width, height


def _spread_and_mean(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the standard deviation and the mean of each channel, [N, C, 1, 1] both."""
    return torch.std_mean(images, dim=(2, 3), correction=0, keepdim=True)
