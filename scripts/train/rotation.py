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
from PIL import Image
from rotation_card import measure, write_model
from rotation_net import RotationNet
from rotation_pictures import all_turns, normalise, parts_of
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.efficientnet import MBConv
from torchvision.ops import StochasticDepth
from training import train

HELD_OUT = 135
SIDE = 64  # pixels; the sky is up and the ground is down at that size already
PHOTOS_AT_ONCE = 24  # each in all four turns


class DepthwiseConv(nn.Conv2d):
    """A depthwise convolution in float32, whose gradient takes far longer in bfloat16."""

    def forward(self, images: Tensor) -> Tensor:
        """Return [N, C, H', W'] for [N, C, H, W], in the type that came in."""
        with torch.autocast("cpu", enabled=False):
            return super().forward(images.float()).to(images.dtype)


def new_model() -> RotationNet:
    """Return the model, so prepared that it learns quickly from its random start."""
    network = RotationNet()
    # torchvision draws the classifier so wide for four classes that training hardly recovers.
    nn.init.normal_(network.classifier.get_parameter("1.weight"), std=0.01)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.__class__ = DepthwiseConv
        elif isinstance(module, MBConv) and module.use_res_connect:
            nn.init.zeros_(module.block[-1][1].weight)  # a shallow network at first
        elif isinstance(module, StochasticDepth):
            module.p = 0.0  # the training is too short to need it
    return network


def loss_on(
    photos: list[Image.Image], model: nn.Module, rng: np.random.Generator, _: float
) -> Tensor:
    """Return the loss of the answers to all turns of some photos."""
    chosen = rng.choice(len(photos), PHOTOS_AT_ONCE, replace=len(photos) < PHOTOS_AT_ONCE)
    images = normalise(parts_of([photos[i] for i in chosen], SIDE, rng))
    # What was turned by k is set upright by 4 - k more quarter turns.
    answers = (-torch.arange(4) % 4).repeat_interleave(PHOTOS_AT_ONCE)
    logits = model(all_turns(images)).float()
    return functional.cross_entropy(logits, answers, label_smoothing=0.05)


def main() -> None:
    """Read, split, train, measure, write."""
    options = parse_options(__doc__.splitlines()[0], "rotation.pth", steps=3000)
    photos = read_photos(options.images, shorter_side=128)
    trained, held_out = split(list(photos), HELD_OUT, options.seed)
    print(f"{len(photos)} photos, {len(held_out)} held out")
    images = [photos[name] for name in trained]
    torch.manual_seed(options.seed)
    torch.set_flush_denormal(True)  # what starts at zero has gradients next to zero
    model = train(new_model(), partial(loss_on, images), 2e-3, options, bfloat16=True)
    figures = measure(model, [photos[name] for name in held_out])
    for name, value in figures.items():
        print(f"{value:8.2%}  {name}")
    write_model(options, model, figures, (len(trained), len(held_out)))


if __name__ == "__main__":
    main()
