"""The model card of the rotation model."""

from __future__ import annotations

import argparse

from rotation_head import PHOTOS_AT_ONCE
from rotation_measure import Figures
from rotation_pictures import SIDE
from rotation_start import PACKAGE
from torch import nn
from weights_file import state_of, write_weights

CARD = """# {name}

Weights of `RotationNet` (`model_defs/rotation_net.py`, EfficientNet-Lite0 and a small head,
{parameters:,} parameters): by how many degrees a photo must be turned counter-clockwise to be
upright. Written by `scripts/train/rotation.py` together with the weights; every figure below was
measured by that run on the weights beside this card.

## What it started from

The ImageNet weights in the package `{package}` 0.1.0 (Copyright 2020 ML
Illustrated, Apache License 2.0), which are EfficientNet-Lite0 (Tan and Le, ICML 2019; Copyright
2020 Google, Apache License 2.0) in PyTorch's form. They are as they were, up to the classes of
ImageNet, which a head of its own replaces: it reads the means of the last three stages and of the
last layer. The training script reads the weights from the installed package.

## Data

{data}

None of the photos is part of this repository. Photos of ImageNet's classes were held out from this
training, but the weights that it started from may have seen some of them, upright.

## Training

    scripts/train/rotation.py --images DIR [DIR…] --seed {seed} --steps {steps}

Only the head was trained: AdamW, a rate that falls along a cosine, {at_once} photos a step. The
network looked at each photo twice, at {side} pixels a side: once at the whole, once at a random
part of random shape, or the whole with borders of one tone. Some parts are tilted, mirrored, grey
or saved as poor JPEGs; all change light, contrast and colour. Each look saw all four turns, and the
loss is of what they answer together: the head learns to choose the upright one of four. The split
and all looks follow from the seed.

## Input

Logits [N, 4] for pictures [N, 3, S, S], S = {side} as measured: value / 255, minus 0.5, divided by
0.5. Pictures are stretched to a square. `handlers/rotation_corrector.py` asks about all four turns
and those of the mirror image, and takes what they agree on (`agreement = true`).

## Figures

Right answers on the {held} held-out photos, each in all four turns; chance is 25 %. {side} pixels a
side, eight views agreed, if nothing else is said.

{table}

`temperature = {temperature}` was fitted to the photos of calibration. With it `confidence` is
how often an answer is right, to {error:.1%} (expected calibration error in ten bins, on the
held-out photos; {before:.1%} without it).

## Limits

- It is right less often on photos of single things (`photos`), many of them close-ups.
- One look alone (`agreement = false`) is right less often, since the head learned to compare.
- Close-ups, patterns, and pictures from above may have no upright at all. `confidence` tells: see
  the rows for answers of at least that confidence.
- Drawings, scanned pages and text were not trained on.

## Licence

Apache License 2.0, as what it started from and this repository.
"""


def write_model(options: argparse.Namespace, model: nn.Module, figures: Figures) -> None:
    """Write the state_dict and its card."""
    card = CARD.format(
        name=options.out.name,
        package=PACKAGE,
        parameters=sum(p.numel() for p in model.parameters()),
        data=figures.data_table(),
        seed=options.seed,
        steps=options.steps,
        at_once=PHOTOS_AT_ONCE,
        side=SIDE,
        held=figures.counts[2].total(),
        table=figures.table(),
        temperature=figures.temperature,
        error=figures.error,
        before=figures.error_before,
    )
    write_weights(options.out, state_of(model), card)
