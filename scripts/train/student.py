"""Teach a small model to redraw photos as a classical filter does, measure it, write its card."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from photos import read_photos, split
from PIL import Image
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional
from training import train
from weights_file import state_of, write_weights

HELD_OUT = 85

CARD = """# {name}

{what}

Written by `scripts/train/{script}` together with the weights; every figure below was measured
by that run on the weights beside this card.

## Data

- {trained} photos were trained on, {held} others were held out, chosen by a permutation with
  seed {seed}. None of them is part of this repository.
- What the model should draw comes from a classical filter, `{teacher}` in
  `scripts/train/teachers.py`; no picture was drawn or labelled by hand, and nothing was pretrained.

## Training

    scripts/train/{script} --images DIR --seed {seed} --steps {steps}

AdamW, one-cycle rate; the weights are a running average. Every step scales {batch} photos at
random, lets the filter redraw them, and cuts {side} x {side} pixels out of both. The loss is the
absolute difference of values, and half that of their changes from pixel to pixel, which keeps
lines sharp. The split, the cuts and the first weights follow from the seed; the final weights
are the same again on the same machine with the same thread count and torch ({torch}), also
when the run was stopped and went on.

## Input and output

{form}

## Figures

Mean absolute difference to the filter's drawing of the {held} held-out photos, values 0…255.

| picture | difference |
| --- | --- |
{table}

## Limits

{limits}

## Licence

The weights come under the licence of this repository.
"""


@dataclass(frozen=True)
class Lesson:
    """What a model learns, and what its card says about it."""

    script: str
    what: str
    form: str
    limits: str
    teacher: Callable[[Tensor], Tensor]  # [N, 3, H, W] in 0…1, both ways
    to_input: Callable[[Tensor], Tensor]  # from 0…1 to the model's input
    to_picture: Callable[[Tensor, Tensor], Tensor]  # from output and images to 0…1
    zoom: tuple[float, float]  # random scale of the photos, whose shorter side is 256 pixels
    square: bool  # whether the handler stretches pictures to 256 x 256
    baselines: dict[str, Callable[[Tensor], Tensor]]  # drawings to be better than
    side: int = 176
    batch: int = 8
    finish: Callable[[nn.Module], None] = lambda _: None  # changes the trained model


def teach(lesson: Lesson, model: nn.Module, options: argparse.Namespace) -> None:
    """Read, split, train, measure, write."""
    photos = read_photos(options.images, shorter_side=256)
    trained, held_out = split(list(photos), HELD_OUT, options.seed)
    print(f"{len(photos)} photos, {len(held_out)} held out")
    images = [photos[name] for name in trained]
    model = train(model, partial(_loss, lesson, images), 2e-3, options, bfloat16=True)
    lesson.finish(model)
    figures = _measure(lesson, model, [photos[name] for name in held_out])
    for name, value in figures.items():
        print(f"{value:8.2f}  {name}")
    card = CARD.format(
        **{name: getattr(lesson, name) for name in ("script", "what", "form", "limits", "batch")},
        name=options.out.name,
        teacher=lesson.teacher.__name__,
        side=lesson.side,
        trained=len(trained),
        held=len(held_out),
        seed=options.seed,
        steps=options.steps,
        torch=torch.__version__.split("+")[0],
        table="\n".join(f"| {name} | {value:.1f} |" for name, value in figures.items()),
    )
    write_weights(options.out, state_of(model), card)


def _loss(
    lesson: Lesson, photos: list[Image.Image], model: nn.Module, rng: np.random.Generator, _: float
) -> Tensor:
    pairs = [_cut(lesson, photos[i], rng) for i in rng.choice(len(photos), lesson.batch)]
    images, drawings = (torch.cat(part) for part in zip(*pairs, strict=True))
    given = lesson.to_input(images).contiguous(memory_format=torch.channels_last)
    drawn = lesson.to_picture(model(given).float(), images)
    return functional.l1_loss(drawn, drawings) + 0.5 * sum(
        (functional.l1_loss(drawn.diff(dim=axis), drawings.diff(dim=axis)) for axis in (2, 3)),
        start=torch.zeros(()),
    )


def _cut(lesson: Lesson, photo: Image.Image, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return a part of a photo and of its drawing, [1, 3, S, S] each."""
    zoom = float(rng.uniform(*lesson.zoom))
    size = (256, 256) if lesson.square else photo.size
    width, height = (max(lesson.side, round(edge * zoom)) for edge in size)
    image = photo.resize((width, height), Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    # The filter sees a margin around the part, or its borders would be drawn as edges.
    top = int(rng.integers(height - lesson.side + 1))
    left = int(rng.integers(width - lesson.side + 1))
    part = (
        slice(None),
        slice(None),
        slice(top, top + lesson.side),
        slice(left, left + lesson.side),
    )
    whole = _tensor(image)
    with torch.autocast("cpu", enabled=False):  # eight bits of precision are too few for a filter
        return whole[part], lesson.teacher(whole)[part]


@torch.no_grad()
def _measure(lesson: Lesson, model: nn.Module, photos: list[Image.Image]) -> dict[str, float]:
    ways = {
        "the model's": lambda x: lesson.to_picture(model(lesson.to_input(x)), x).clamp(0, 1),
        **lesson.baselines,
    }
    totals = dict.fromkeys(ways, 0.0)
    for photo in track(photos, "measuring", transient=True):
        image = _tensor(photo.resize((256, 256), Image.Resampling.BILINEAR))
        drawing = lesson.teacher(image)
        for name, way in ways.items():
            totals[name] += float((way(image) - drawing).abs().mean()) * 255 / len(photos)
    return totals


def _tensor(image: Image.Image) -> Tensor:
    """Return an image as [1, 3, H, W] in 0…1."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
