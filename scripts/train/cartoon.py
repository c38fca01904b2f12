#!/usr/bin/env python3
"""Train the cartoon model on photos and write its weights and its model card.

    scripts/train/cartoon.py --images DIR [--out weights/cartoon.pth]

DIR holds photos, in any folders below it. A run that was stopped goes on when the same command is
typed again.
"""

from __future__ import annotations

import environment

environment.enter()

import teachers
import torch
from photos import parse_options
from resnet_generator import ResnetGenerator
from student import Lesson, teach

NGF, BLOCKS = 32, 4  # a seventeenth of the paper's work per picture; the filter needs no more

LESSON = Lesson(
    script="cartoon.py",
    what=f"""Weights of `ResnetGenerator` (`model_defs/resnet_generator.py`, ngf {NGF}, {BLOCKS}
residual blocks): a photo becomes a cartoon.""",
    form="""RGB pictures [N, 3, 256, 256]: value / 255, minus 0.5, divided by 0.5; the output has
the same shape and scale. Other sizes divisible by 4 work, but the look was learned at 256. Instance
norm loses the tones of a picture, so each channel of the output is then given the mean and spread
that it has in the input (`keep_tones` in `handler_config`).""",
    limits="""- The drawing has 256 x 256 pixels, whatever came in; large pictures get soft lines.
- Fine textures (grass, fur, gravel) become patches of colour, and small writing is lost, as in the
  filter's drawings.
- Soft transitions over large areas become steps of tone with ragged borders.""",
    teacher=teachers.cartoon,
    to_input=lambda images: (images - 0.5) / 0.5,
    to_picture=lambda outputs, images: teachers.with_tones_of(images, outputs * 0.5 + 0.5),
    side=256,
    batch=4,
    zoom=(1.0, 1.2),
    square=True,
    baselines={"the photo itself": lambda images: images},
)


def main() -> None:
    """Train the generator."""
    options = parse_options(__doc__.splitlines()[0], "cartoon.pth", steps=2000)
    torch.manual_seed(options.seed)
    teach(LESSON, ResnetGenerator(NGF, BLOCKS), options)


if __name__ == "__main__":
    main()
