"""The pictures that the rotation model learns from: parts of photos, varied, mixed and turned."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def parts_of(photos: list[Image.Image], side: int, rng: np.random.Generator) -> Tensor:
    """Cut a random part out of each photo, of a random shape, so that no shape tells anything.

    Returns [N, 3, S, S] in 0…1, upright, varied in light and colour and mixed with one another: a
    mixture of upright pictures is upright.
    """
    pixels = np.stack([np.asarray(_cut(photo, side, rng)) for photo in photos])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return _mix(_vary(images, rng), rng)


def _cut(photo: Image.Image, side: int, rng: np.random.Generator) -> Image.Image:
    area = rng.uniform(0.3, 1.0) * photo.width * photo.height
    shape = np.exp(rng.uniform(-0.4, 0.4))
    width = min(photo.width, round((area * shape) ** 0.5))
    height = min(photo.height, round((area / shape) ** 0.5))
    left = rng.integers(photo.width - width + 1)
    top = rng.integers(photo.height - height + 1)
    box = (left, top, left + width, top + height)
    image = photo.resize((side, side), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image


def _vary(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Vary contrast, light and colour; a fifth of the pictures become grey."""
    count = len(images)

    def drawn(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (count, channels, 1, 1))).float()

    middle = images.mean(dim=(1, 2, 3), keepdim=True)
    images = ((images - middle) * drawn(0.5, 1.5) + middle) * drawn(0.8, 1.2, 3) + drawn(-0.2, 0.2)
    grey = torch.from_numpy(rng.random(count) < 0.2)
    images[grey] = images[grey].mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    return images


def _mix(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Lay others over some pictures, thinly (Zhang et al., mixup, ICLR 2018), or a part of them.

    The latter after Yun et al., CutMix (ICCV 2019); the part may also be one plain tone.
    """
    others = images[torch.from_numpy(rng.permutation(len(images)))]
    mixed = images.clone()
    side = images.shape[2]
    for place, kind in enumerate(rng.random(len(images))):
        if kind < 0.3:
            mixed[place].lerp_(others[place], float(rng.uniform(0, 0.4)))
        elif kind < 0.7:
            height, width = rng.integers(side // 6, round(0.7 * side), 2)
            top, left = rng.integers(side - height + 1), rng.integers(side - width + 1)
            part = (slice(None), slice(top, top + height), slice(left, left + width))
            mixed[place][part] = others[place][part] if kind < 0.55 else float(rng.random())
    return mixed


def normalise(images: Tensor) -> Tensor:
    """Turn [N, 3, S, S] in 0…1 into the model's input."""
    return (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def all_turns(images: Tensor) -> Tensor:
    """Return [4 N, 3, S, S]: all pictures turned by 0, 90, 180 and 270 degrees."""
    turned = torch.cat([images.rot90(turn, (2, 3)) for turn in range(4)])
    return turned.contiguous(memory_format=torch.channels_last)
