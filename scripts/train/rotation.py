#!/usr/bin/env python3
"""Train the rotation model on upright photos and write its weights and its model card.

    scripts/train/rotation.py --images DIR [--out weights/rotation.pth]

DIR holds photos that are upright, in any folders below it. A run that was stopped goes on when the
same command is typed again.
"""

from __future__ import annotations

import environment

environment.enter()

from functools import partial

import numpy as np
import torch
from photos import parse_options, read_photos, split
from PIL import Image, ImageFilter
from rotation_card import measure, write_model
from rotation_net import RotationNet
from torch import Tensor, nn
from torch.nn import functional
from training import train

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HELD_OUT = 135
PHOTOS_AT_ONCE = 16  # each in all four turns
# Small pictures first: the sky is up and the ground is down at 64 pixels already, and there four
# times as many photos are seen in the same time. (from this part of the training, side in pixels)
SIDES = ((0.0, 64), (0.7, 96))


def cut(photo: Image.Image, side: int, rng: np.random.Generator) -> Image.Image:
    """Cut a random part out of a photo, of a random shape, so that its shape tells nothing."""
    area = rng.uniform(0.3, 1.0) * photo.width * photo.height
    shape = np.exp(rng.uniform(-0.35, 0.35))
    width = min(photo.width, round((area * shape) ** 0.5))
    height = min(photo.height, round((area / shape) ** 0.5))
    left = rng.integers(photo.width - width + 1)
    top = rng.integers(photo.height - height + 1)
    box = (left, top, left + width, top + height)
    image = photo.resize((side, side), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.15:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2)))
    return image.convert("L").convert("RGB") if rng.random() < 0.15 else image


def vary(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Vary brightness, contrast and colour of [N, 3, S, S] in 0…1, and hide a patch of each."""
    count, _, side, _ = images.shape
    contrast = torch.from_numpy(rng.uniform(0.6, 1.4, (count, 1, 1, 1))).float()
    tint = torch.from_numpy(rng.uniform(0.85, 1.15, (count, 3, 1, 1))).float()
    light = torch.from_numpy(rng.uniform(-0.15, 0.15, (count, 1, 1, 1))).float()
    middle = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (((images - middle) * contrast + middle) * tint + light).clamp(0, 1)
    for image in images:
        height, width = rng.integers(1, max(2, side // 3), 2)
        top, left = rng.integers(side - height), rng.integers(side - width)
        image[:, top : top + height, left : left + width] = float(rng.random())
    return images


def normalise(images: Tensor) -> Tensor:
    """Turn [N, 3, S, S] in 0…1 into the model's input."""
    return (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def all_turns(images: Tensor) -> Tensor:
    """Return [4 N, 3, S, S]: all pictures turned by 0, 90, 180 and 270 degrees."""
    return torch.cat([images.rot90(turn, (2, 3)) for turn in range(4)])


def to_tensor(images: list[Image.Image]) -> Tensor:
    """Stack pictures of one size as [N, 3, S, S] in 0…1."""
    pixels = np.stack([np.asarray(image) for image in images])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def loss_on(
    photos: list[Image.Image], model: nn.Module, rng: np.random.Generator, part: float
) -> Tensor:
    """Return the loss of single answers and of what the four turns of a photo agree on."""
    side = next(side for start, side in reversed(SIDES) if part >= start)
    chosen = rng.choice(len(photos), PHOTOS_AT_ONCE, replace=False)
    images = vary(to_tensor([cut(photos[i], side, rng) for i in chosen]), rng)
    turned = all_turns(normalise(images)).contiguous(memory_format=torch.channels_last)
    logits = model(turned).float()
    # What was turned by k is set upright by 4 - k more quarter turns.
    answers = (-torch.arange(4) % 4).repeat_interleave(PHOTOS_AT_ONCE)
    single = functional.cross_entropy(logits, answers, label_smoothing=0.05)
    seen = logits.log_softmax(1).view(4, PHOTOS_AT_ONCE, 4)
    agreed = torch.stack([seen[k].roll(k, dims=1) for k in range(4)]).mean(0)
    upright = torch.zeros(PHOTOS_AT_ONCE, dtype=torch.long)
    return single + 0.5 * functional.cross_entropy(agreed, upright)


def main() -> None:
    """Read, split, train, measure, write."""
    options = parse_options(__doc__.splitlines()[0], "rotation.pth", steps=1600)
    photos = read_photos(options.images, shorter_side=160)
    trained, held_out = split(list(photos), HELD_OUT, options.seed)
    print(f"{len(photos)} photos, {len(held_out)} held out")
    images = [photos[name] for name in trained]
    torch.manual_seed(options.seed)
    model = RotationNet()
    # torchvision draws it so wide for four classes that training hardly recovers.
    nn.init.normal_(model.classifier[1].weight, std=0.01)
    average = train(model, partial(loss_on, images), 2e-3, options)
    figures = measure(average, [photos[name] for name in held_out])
    for name, value in figures.items():
        print(f"{value:8.2%}  {name}")
    write_model(options, average, figures, (len(trained), len(held_out)))


if __name__ == "__main__":
    main()
