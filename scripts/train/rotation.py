#!/usr/bin/env python3
"""Train the rotation model on upright photos and write its weights and its model card.

    scripts/train/rotation.py --images DIR [DIR…] [--out weights/rotation.pth]

DIR holds photos that are upright, in any folders below it. A run that was stopped goes on when the
same command is typed again.
"""

from __future__ import annotations

import environment

environment.enter()

import torch
from environment import fail
from photos import kind_of, parse_options, read_photos, split
from rotation_card import write_model
from rotation_head import looks_at, train_head
from rotation_measure import measure
from rotation_start import new_model

HELD_OUT = 0.15  # of each kind of photo
CALIBRATION = 0.05  # likewise: the temperature is fitted to these


def parts(names: list[str], seed: int) -> tuple[list[str], list[str], list[str]]:
    """Return (trained on, calibrated on, held out), each with its share of every kind."""
    chosen: tuple[list[str], list[str], list[str]] = ([], [], [])
    for kind in sorted(set(map(kind_of, names))):
        of_kind = [name for name in names if kind_of(name) == kind]
        rest, held_out = split(of_kind, max(1, round(HELD_OUT * len(of_kind))), seed)
        trained, calibrated = split(rest, max(1, round(CALIBRATION * len(of_kind))), seed)
        for part, more in zip(chosen, (trained, calibrated, held_out), strict=True):
            part.extend(more)
    return chosen


def main() -> None:
    """Read, split, train, measure, write."""
    options = parse_options(__doc__.splitlines()[0], "rotation.pth", steps=400)
    photos = read_photos(options.images, shorter_side=256)
    chosen = parts(list(photos), options.seed)
    print(
        " / ".join(str(len(part)) for part in chosen), "photos: training / calibration / held out"
    )
    if not (chosen[1] and chosen[2]):
        fail("each kind has fewer than ten photos", "give more, or put them all into one folder")
    trained, calibrated, held_out = [{name: photos[name] for name in part} for part in chosen]
    torch.manual_seed(options.seed)
    model = new_model()
    seen = looks_at(model, list(trained.values()), options)
    train_head(model, seen, options.steps, options.seed)
    figures = measure(model, trained, calibrated, held_out)
    print(figures.table())
    write_model(options, model, figures)


if __name__ == "__main__":
    main()
