"""Measure the rotation model on held-out photos, as its handler asks it, and write its card."""

from __future__ import annotations

import argparse

import numpy as np
import torch
from marsmith_handlers.image_codec import Picture
from marsmith_handlers.torch_engines import TorchEngine
from PIL import Image
from rich.progress import track
from rotation_corrector import RotationCorrector
from rotation_pictures import MEAN, STD
from torch import Tensor, nn
from torch.nn import functional
from weights_file import state_of, write_weights

SIDES = (64, 96, 128)  # all measured; multiples of 32, as the network halves them five times
# What the archive's handler_config says: larger than trained on, since random parts are seen larger
# than whole pictures (Touvron et al., Fixing the train-test resolution discrepancy, NeurIPS 2019).
SIDE = 96
CROP = 1.0
TEMPERATURE = "temperature that fits the eight views' confidence"
TEMPERATURES = [step / 20 for step in range(2, 41)]

CARD = """# {name}

Weights of `RotationNet` (`model_defs/rotation_net.py`, EfficientNet-B0 with four classes,
{parameters:,} parameters): by how many degrees a photo must be turned counter-clockwise to be
upright. Written by `scripts/train/rotation.py` together with the weights; every figure below was
measured by that run on the weights beside this card.

## Data

- {trained} upright photos were trained on, {held} others were held out, chosen by a permutation
  with seed {seed}. None of them is part of this repository.
- The first weights are random: nothing was pretrained on other data.

## Training

    scripts/train/rotation.py --images DIR --seed {seed} --steps {steps}

AdamW, one-cycle rate; the weights are a running average. Every step cuts random parts of random
shape out of 24 photos, 64 x 64 pixels, varies their light, contrast and colour, mixes them with one
another (a mixture of upright pictures is upright), and shows all four turns. The split, the parts
and the first weights follow from the seed; the final weights are the same again on the same machine
with the same thread count and torch ({torch}), also when the run was stopped and went on.

## Input

Logits [N, 4] for pictures [N, 3, S, S], S = {side} as measured: value / 255, minus {mean},
divided by {std}. Of a picture the middle square is taken.
`handlers/rotation_corrector.py` asks about all four turns of it and of its mirror image, and takes
what they agree on (`agreement = true`).

## Figures

Right answers on the {held} held-out photos, each in all four turns; chance is 25 %. Where no size
is given, pictures have {side} pixels a side. With `temperature = {temperature}`, fitted to these
photos, `confidence` is about how often an answer is right.

| test | right |
| --- | --- |
{table}

## Limits

- It is a demonstration, not a tool: a network trained on a million photos is right far more often.
  Few photos were there to learn from, mostly of animals and things, and close-ups, patterns and
  pictures from above may have no upright at all.
- `confidence` tells the two apart: see the rows for answers of at least that confidence.
- Drawings, scanned pages and text were never seen.

## Licence

The weights come under the licence of this repository.
"""


def measure(model: nn.Module, photos: list[Image.Image]) -> dict[str, float]:
    """Return the shares of right answers over all four turns of all photos."""
    figures: dict[str, float] = {}
    for side in SIDES:
        for agreement in (False, True):
            name = f"{'eight views agreed' if agreement else 'one look'}, {side} pixels a side"
            figures[name] = float(_ask(model, photos, agreement, side)[1].float().mean())
    way, (outputs, right) = "eight views agreed", _ask(model, photos, True)
    stretched = _ask(model, photos, True, crop=0.0)[1]
    figures[f"{way}, pictures stretched to a square"] = float(stretched.float().mean())
    wanted = torch.arange(4).neg().remainder(4).repeat(len(photos))
    losses = {t: float(functional.cross_entropy(outputs / t, wanted)) for t in TEMPERATURES}
    figures[TEMPERATURE] = min(losses, key=lambda t: losses[t])
    confidence = (outputs / figures[TEMPERATURE]).softmax(dim=1).max(dim=1).values
    for least in (0.5, 0.7, 0.9):
        sure = confidence >= least
        figures[f"{way}, share with confidence {least} or more"] = float(sure.float().mean())
        if sure.any():
            name = f"{way}, right at confidence {least} or more"
            figures[name] = float(right[sure].float().mean())
    return figures


@torch.no_grad()
def _ask(
    model: nn.Module,
    photos: list[Image.Image],
    agreement: bool,
    side: int = SIDE,
    crop: float = CROP,
) -> tuple[Tensor, Tensor]:
    """Return log-probabilities [4 N, 4] and whether they are right [4 N], as the handler does."""
    handler = RotationCorrector()
    handler.config = RotationCorrector.Config(
        (side, side), mean=MEAN, std=STD, crop=crop, agreement=agreement
    )
    handler.set_normalisation()
    handler.model = TorchEngine(model, channels_last=True)
    outputs, answers = [], []
    for photo in track(photos, "measuring", transient=True):
        turned = [photo.rotate(90 * turn, expand=True) for turn in range(4)]
        batch = np.stack([handler.prepare(Picture(image, image.size)) for image in turned])
        outputs.append(torch.from_numpy(handler.infer(batch)))
        answers.append(-torch.arange(4) % 4)
    everything = torch.cat(outputs)
    return everything, everything.argmax(dim=1) == torch.cat(answers)


def write_model(
    options: argparse.Namespace,
    model: nn.Module,
    figures: dict[str, float],
    counts: tuple[int, int],
) -> None:
    """Write the state_dict and its card; `counts` are the trained and the held-out photos."""
    state = state_of(model)
    card = CARD.format(
        name=options.out.name,
        parameters=sum(p.numel() for p in model.parameters()),
        trained=counts[0],
        held=counts[1],
        seed=options.seed,
        steps=options.steps,
        torch=torch.__version__.split("+")[0],
        side=SIDE,
        mean=MEAN,
        std=STD,
        table="\n".join(
            f"| {name} | {value:.1%} |" for name, value in figures.items() if name != TEMPERATURE
        ),
        temperature=figures[TEMPERATURE],
    )
    write_weights(options.out, state, card)
