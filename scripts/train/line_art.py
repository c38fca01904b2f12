#!/usr/bin/env python3
"""Train the line-art model on photos and write its weights and its model card.

    scripts/train/line_art.py --images DIR [--out weights/line-art.pth]

DIR holds photos, in any folders below it. A run that was stopped goes on when the same command is
typed again.
"""

from __future__ import annotations

import environment

environment.enter()

import teachers
import torch
from photos import parse_options
from student import Lesson, teach
from torch import nn
from unet import UNet

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@torch.no_grad()
def one_grey(model: nn.Module) -> None:
    """Let the three channels draw the same: the mean of what each learned, so nothing is tinted."""
    for name, values in model.named_parameters():
        if name.startswith("head."):
            values.copy_(values.mean(dim=0, keepdim=True).expand_as(values))


LESSON = Lesson(
    script="line_art.py",
    what="Weights of `UNet` (`model_defs/unet.py`): a photo becomes a pencil line drawing.",
    form=f"""RGB pictures [N, 3, H, W], sides divisible by 16: value / 255, minus {MEAN}, divided
by {STD}. The output has the same shape; clipped to 0…1 it is a grey
drawing on white paper.""",
    limits="""- Lines are one to three pixels wide at any size, so a large picture gets finer ones.
- Fine textures (grass, fur, gravel) are drawn hair by hair, as the filter does.
- Noise and JPEG blocks of dark pictures may be drawn too.""",
    teacher=teachers.pencil,
    to_input=lambda images: (
        (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    ),
    to_picture=lambda outputs, _: outputs,
    zoom=(0.7, 2.0),
    square=False,
    baselines={
        "white paper": torch.ones_like,
        "the photo in grey": lambda images: teachers.grey(images).expand(-1, 3, -1, -1),
    },
    finish=one_grey,
)


def main() -> None:
    """Train the U-Net."""
    options = parse_options(__doc__.splitlines()[0], "line-art.pth", steps=1000)
    torch.manual_seed(options.seed)
    teach(LESSON, UNet(), options)


if __name__ == "__main__":
    main()
