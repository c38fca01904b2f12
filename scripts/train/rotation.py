#!/usr/bin/env python3
"""Train the rotation model on upright photos and write its weights and its model card.

    scripts/train/rotation.py --images DIR [DIR…] [--out weights/rotation.pth]

DIR holds photos that are upright, in any folders below it. A run that was stopped goes on when the
same command is typed again.
"""

from __future__ import annotations

import environment

environment.enter()

from functools import partial

import numpy as np
import torch
from photos import kind_of, parse_options, read_photos, split
from PIL import Image
from rotation_card import write_model
from rotation_measure import measure
from rotation_pictures import normalise, parts_of, turned
from rotation_start import new_model
from torch import Tensor, nn
from torch.nn import functional
from training import train

HELD_OUT = 0.15  # of each kind of photo
CALIBRATION = 0.05  # likewise: the temperature is fitted to these
SIDE = 160  # pixels
PHOTOS_AT_ONCE = 32


def parts(names: list[str], seed: int) -> tuple[list[str], list[str], list[str]]:
    """Return (trained on, calibrated on, held out), each with its share of every kind."""
    chosen: tuple[list[str], list[str], list[str]] = ([], [], [])
    for kind in sorted(set(map(kind_of, names))):
        of_kind = [name for name in names if kind_of(name) == kind]
        rest, held_out = split(of_kind, round(HELD_OUT * len(of_kind)), seed)
        trained, calibrated = split(rest, round(CALIBRATION * len(of_kind)), seed)
        for part, more in zip(chosen, (trained, calibrated, held_out), strict=True):
            part.extend(more)
    return chosen


def loss_on(
    photos: list[Image.Image], model: nn.Module, rng: np.random.Generator, _: float
) -> Tensor:
    """Return the loss of the answers to some photos, each turned at random."""
    chosen = rng.choice(len(photos), PHOTOS_AT_ONCE, replace=len(photos) < PHOTOS_AT_ONCE)
    images = normalise(parts_of([photos[i] for i in chosen], SIDE, rng))
    turns = rng.integers(4, size=PHOTOS_AT_ONCE)
    # What was turned by k is set upright by 4 - k more quarter turns.
    answers = torch.from_numpy(-turns % 4)
    return functional.cross_entropy(model(turned(images, turns)), answers, label_smoothing=0.05)


def main() -> None:
    """Read, split, train, measure, write."""
    options = parse_options(__doc__.splitlines()[0], "rotation.pth", steps=1500)
    photos = read_photos(options.images, shorter_side=256)
    chosen = parts(list(photos), options.seed)
    print(
        " / ".join(str(len(part)) for part in chosen), "photos: training / calibration / held out"
    )
    torch.manual_seed(options.seed)
    trained, calibrated, held_out = [{name: photos[name] for name in part} for part in chosen]
    model = train(new_model(), partial(loss_on, list(trained.values())), 6e-4, options)
    figures = measure(model, trained, calibrated, held_out)
    print(figures.table())
    write_model(options, model, figures)


if __name__ == "__main__":
    main()
