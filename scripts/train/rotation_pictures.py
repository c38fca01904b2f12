"""The pictures that the rotation model learns from: photos, and parts of them, varied."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
SIDE = 160  # pixels; what the archive's handler_config says
_TILT = 10  # degrees; a photo is hardly ever held straighter


def parts_of(photos: list[Image.Image], side: int, rng: np.random.Generator) -> Tensor:
    """Cut a random part out of each photo, of a random shape, so that no shape tells anything.

    Returns [N, 3, S, S] in 0…1, upright, varied in light and colour.
    """
    return _vary(_stacked([_noisy(_cut(photo, side, rng), rng) for photo in photos]), rng)


def whole(photos: list[Image.Image], side: int) -> Tensor:
    """Return the photos as they are, stretched to squares: [N, 3, S, S] in 0…1."""
    return _stacked(
        [photo.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2) for photo in photos]
    )


def _stacked(images: list[Image.Image]) -> Tensor:
    pixels = np.stack([np.asarray(image) for image in images])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def _cut(photo: Image.Image, side: int, rng: np.random.Generator) -> Image.Image:
    """Return a part, tilted a little; what lies outside the photo gets one plain tone."""
    if rng.random() < 0.15:  # all of it, with borders
        width, height = photo.width * rng.uniform(1, 1.6), photo.height * rng.uniform(1, 1.6)
    else:
        area = rng.uniform(0.35, 1.0) * photo.width * photo.height
        shape = math.exp(rng.uniform(-0.35, 0.35))
        middle = math.sqrt(photo.width / photo.height)  # a part of the photo's shape, or near it
        width = min(photo.width, math.sqrt(area) * middle * shape)
        height = min(photo.height, math.sqrt(area) / middle / shape)
    left, top = (photo.width - width) * rng.random(), (photo.height - height) * rng.random()
    tilt = math.radians(rng.normal(0, _TILT / 2)) if rng.random() < 0.5 else 0.0
    across = width / side * (-1 if rng.random() < 0.5 else 1)  # a mirror image at times
    down = height / side
    cosine, sine = math.cos(tilt), math.sin(tilt)
    # x = a X + b Y + c, y = d X + e Y + f: from the part's pixels to the photo's.
    turn = np.array([[cosine * across, -sine * down], [sine * across, cosine * down]])
    start = np.array([left + width / 2, top + height / 2]) - turn @ np.full(2, side / 2)
    tone = (0, 255, int(rng.integers(256)))[rng.integers(3)]
    return photo.transform(
        (side, side),
        Image.Transform.AFFINE,
        (*turn[0], start[0], *turn[1], start[1]),
        Image.Resampling.BILINEAR,
        fillcolor=(tone, tone, tone),
    )


def _noisy(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Save some pictures as poor JPEGs and read them again."""
    if rng.random() > 0.2:
        return image
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=int(rng.integers(15, 80)))
    return Image.open(stream).convert("RGB")


def _vary(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Vary contrast, light and colour; a fifth of the pictures become grey."""
    count = len(images)

    def drawn(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (count, channels, 1, 1))).float()

    middle = images.mean(dim=(1, 2, 3), keepdim=True)
    images = ((images - middle) * drawn(0.6, 1.4) + middle) * drawn(0.85, 1.15, 3)
    images = images + drawn(-0.15, 0.15)
    grey = torch.from_numpy(rng.random(count) < 0.2)
    images[grey] = images[grey].mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    return images.clamp(0, 1)


def normalise(images: Tensor) -> Tensor:
    """Turn [N, 3, S, S] in 0…1 into the model's input."""
    return (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
