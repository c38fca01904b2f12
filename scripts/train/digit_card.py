"""Write the digit model's state_dict together with its card, which says how it came about."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

import torch
from convnet import ConvNet
from digit_data import MEAN, STD
from digit_scenes import fonts
from weights_file import state_of, write_weights

CARD = """# {name}

Weights of `ConvNet` (`model_defs/convnet.py`, {parameters:,} parameters): which digit, 0 to 9, a
picture shows. Written by `scripts/train/digits.py` together with the weights; every figure below
was measured on the weights beside this card. The same command with `--measure` does so again, after
a change of how the handler finds a figure.

## Data

- {total:,} handwritten digits ({kind}):
  {files}.
  {trained:,} were trained on, {held:,} were held out, chosen by a permutation with seed {seed}.
  The same data and seed give the same split.
- {extra:,} pictures made by `scripts/train/digit_scenes.py`: digits of the training part painted
  into scenes, the ten digits printed in {fonts} fonts (Pillow's own and those of the machine),
  and digits drawn with lines of many widths; all went through `handlers/isolate_figure.py` as it
  was on that day.
- None of the data is part of this repository.

## Training

    {command}

{epochs} epochs of AdamW with a one-cycle rate; the weights are a running average. Every picture is
varied anew each time: turn, shear, scale, shift, bend, stroke, blur, gamma, brightness, noise.
The split, the made pictures and the first weights follow from the seed alone; the final weights
are the same again on the same machine with the same fonts, thread count and torch ({torch}).

## Input

Log-probabilities [N, 10] for pictures [N, 1, 28, 28], light on dark: value / 255, minus {mean},
divided by {std}. The handler lets `isolate_figure` find and frame the digit first.

## Figures

Right answers on the {held:,} held-out digits, which every framing of
`scripts/train/digit_framings.py` shows in pictures of 28 to 1,024 pixels. Scenes are {scenes} of
them each, in pictures of 20 to 500 pixels (`place and size`: to 2,000), painted by the same code as
the training scenes but with other digits.

| test | right |
| --- | --- |
{table}

## Limits

- One digit per picture, upright: beyond about 30 degrees of turn it gets unsure, and 6 and 9 part
  by nothing else.
- It always answers with a digit; what is no digit gets a digit too, often with a high probability.
- `isolate_figure` was mended by looking at scenes it got wrong, some of them made of held-out
  digits, so the scene figures flatter it a little.
- Digits of other hands and scanners than MNIST's, such as a 1 with a long flag, are read wrong more
  often than the table says.
- The scenes are painted, not photographed. Hard shadows across the figure, ground with strong
  patterns, and figures made of outlines that run out of the picture are not covered. Of several
  figures in a picture, the one with the most ink is read.

## Licence

The weights come under the licence of this repository. The digits are of the MNIST database by
Yann LeCun and Corinna Cortes, made from NIST Special Databases; look up their terms before you
pass the data itself on.
"""


def write_model(
    options: argparse.Namespace,
    model: ConvNet,
    figures: dict[str, float],
    kind: str,
    counts: tuple[int, int, int, int],
) -> None:
    """Write the state_dict and its card; `counts` are all, trained, held-out and made pictures."""
    state = state_of(model)
    command = ["scripts/train/digits.py", "--data", "DIR", "--seed", str(options.seed)]
    command += ["--epochs", str(options.epochs), "--extra", str(options.extra)]
    command += ["--scenes", str(options.scenes)]
    total, trained, held, made = counts
    card = CARD.format(
        name=options.out.name,
        parameters=sum(value.numel() for value in state.values()),
        total=total,
        kind=kind,
        files=", ".join(sorted(path.name for path in options.data.iterdir())[:10]),
        trained=trained,
        held=held,
        seed=options.seed,
        extra=made,
        fonts=len(fonts(24)),
        command=shlex.join(command),
        epochs=options.epochs,
        torch=torch.__version__.split("+")[0],
        mean=MEAN,
        std=STD,
        scenes=min(options.scenes, held),
        table=_rows(figures),
    )
    write_weights(options.out, state, card)


def renew_figures(weights: Path, figures: dict[str, float]) -> None:
    """Put figures that were measured again into the card beside the weights."""
    path = weights.with_suffix(".md")
    before, mark, rest = path.read_text("utf-8").partition("| test | right |\n| --- | --- |\n")
    _, gap, after = rest.partition("\n\n")
    path.write_text("".join([before, mark, _rows(figures), gap, after]), "utf-8")


def _rows(figures: dict[str, float]) -> str:
    return "\n".join(f"| {name} | {value:.2%} |" for name, value in figures.items())
