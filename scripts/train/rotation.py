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
from torchvision.models.efficientnet import MBConv
from torchvision.ops import StochasticDepth
from training import train

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HELD_OUT = 135
PHOTOS_AT_ONCE = 8  # each in all four turns; many small steps, as the network starts slowly
# Small pictures first: the sky is up and the ground is down at 48 pixels already, and there four
# times as many photos are seen in the same time. (from this part of the training, side in pixels)
SIDES = ((0.0, 48), (0.55, 64), (0.85, 96))
DEPTHS = {2: 24, 3: 40, 5: 112, 7: 320}  # parts that are asked for early answers: their channels


class DepthwiseConv(nn.Conv2d):
    """A depthwise convolution in float32, whose gradient takes far longer in bfloat16."""

    def forward(self, images: Tensor) -> Tensor:
        """Return [N, C, H', W'] for [N, C, H, W], in the type that came in."""
        with torch.autocast("cpu", enabled=False):
            return super().forward(images.float()).to(images.dtype)


class EarlyAnswers(nn.Module):
    """RotationNet, asked after some parts already: so deep a network learns slowly from its end.

    Only `network` is kept after the training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = RotationNet()
        self.heads = nn.ModuleList(nn.Linear(16 * count, 4) for count in DEPTHS.values())
        # torchvision draws the classifier so wide for four classes that training hardly recovers.
        nn.init.normal_(self.network.classifier.get_parameter("1.weight"), std=0.01)
        for head in self.heads:
            nn.init.normal_(head.get_parameter("weight"), std=0.003)
        for module in self.network.modules():
            if isinstance(module, nn.Conv2d) and module.groups > 1:
                module.__class__ = DepthwiseConv
            elif isinstance(module, MBConv) and module.use_res_connect:
                nn.init.zeros_(module.block[-1][1].weight)  # a shallow network at first
            elif isinstance(module, StochasticDepth | nn.Dropout):
                module.p = 0.0  # the training is too short to need them

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the logits [N, 4] of the early answers for [N, 3, S, S] and, last, the model's."""
        answers: list[Tensor] = []
        for index, part in enumerate(self.network.features):
            images = part(images)
            if index in DEPTHS:
                seen = functional.adaptive_avg_pool2d(images.float(), 4).flatten(1)
                answers.append(self.heads[len(answers)](seen).float())
        pooled = self.network.avgpool(images).flatten(1)
        return [*answers, self.network.classifier(pooled).float()]


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
    """Return the loss of single and early answers and of what the turns of a photo agree on."""
    side = next(side for start, side in reversed(SIDES) if part >= start)
    chosen = rng.choice(len(photos), PHOTOS_AT_ONCE, replace=False)
    images = vary(to_tensor([cut(photos[i], side, rng) for i in chosen]), rng)
    turned = all_turns(normalise(images)).contiguous(memory_format=torch.channels_last)
    *early, logits = model(turned)
    # What was turned by k is set upright by 4 - k more quarter turns.
    answers = (-torch.arange(4) % 4).repeat_interleave(PHOTOS_AT_ONCE)
    smooth = partial(functional.cross_entropy, target=answers, label_smoothing=0.05)
    seen = logits.log_softmax(1).view(4, PHOTOS_AT_ONCE, 4)
    agreed = torch.stack([seen[k].roll(k, dims=1) for k in range(4)]).mean(0)
    upright = torch.zeros(PHOTOS_AT_ONCE, dtype=torch.long)
    helped = 0.3 * (1 - part) * torch.stack([smooth(answer) for answer in early]).sum()
    return 0.5 * (smooth(logits) + functional.cross_entropy(agreed, upright)) + helped


def main() -> None:
    """Read, split, train, measure, write."""
    options = parse_options(__doc__.splitlines()[0], "rotation.pth", steps=5500)
    photos = read_photos(options.images, shorter_side=160)
    trained, held_out = split(list(photos), HELD_OUT, options.seed)
    print(f"{len(photos)} photos, {len(held_out)} held out")
    images = [photos[name] for name in trained]
    torch.manual_seed(options.seed)
    torch.set_flush_denormal(True)  # what starts at zero has gradients next to zero
    average = train(EarlyAnswers(), partial(loss_on, images), 1e-3, options, bfloat16=True)
    model = average.get_submodule("network")
    figures = measure(model, [photos[name] for name in held_out])
    for name, value in figures.items():
        print(f"{value:8.2%}  {name}")
    write_model(options, model, figures, (len(trained), len(held_out)))


if __name__ == "__main__":
    main()
