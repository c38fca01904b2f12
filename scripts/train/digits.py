#!/usr/bin/env python3
"""Train the digit model on handwritten digits and write its weights and its model card.

    scripts/train/digits.py --data DIR [--out weights/convnet.pth] [--measure]

DIR holds IDX files (MNIST naming, plain or .gz, any number of image/label pairs) or folders named
0 to 9 with pictures in them.
"""

from __future__ import annotations

import environment

environment.enter()

import argparse
import copy
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from convnet import ConvNet
from digit_card import renew_figures, write_model
from digit_data import MEAN, STD, Labels, Pixels, read_data
from digit_framings import FRAMINGS
from digit_scenes import (
    SCENES,
    augment,
    draw_figures,
    make_scene,
    print_figures,
)
from isolate_figure import isolate_figure
from PIL import Image, ImageDraw, ImageFont
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    track,
)
from torch import Tensor, nn
from weights_file import check_writable

HELD_OUT = 1000


def normalise(pixels: Pixels | Tensor) -> Tensor:
    """Turn grey pictures [N, 28, 28] of 0..255 into the model's input [N, 1, 28, 28]."""
    return (torch.as_tensor(pixels).float().unsqueeze(1) / 255 - MEAN) / STD


def isolated(images: Iterable[Image.Image], count: int, what: str) -> Pixels:
    """Isolate the figure in every picture, one picture in memory at a time; [N, 28, 28]."""
    shown = track(images, what, total=count, transient=True)
    return np.stack([np.asarray(isolate_figure(image)) for image in shown])


def make_extra(
    digits: Pixels, labels: Labels, rng: np.random.Generator, share: float
) -> tuple[Pixels, Labels]:
    """Make training pictures of scenes, of printed and of drawn digits, all isolated."""
    masks = [(Image.fromarray(d), int(a)) for d, a in zip(digits, labels, strict=True)]
    chosen = rng.permutation(len(masks))[: int(share * len(masks))]
    sources = [masks[i] for i in chosen]
    printed = list(print_figures())
    sources += printed * round(share * 2500 / len(printed))
    sources += list(draw_figures(rng, int(share * 4500)))
    if not sources:
        return digits[:0], labels[:0]
    kinds = rng.integers(len(SCENES), size=len(sources))
    pairs = zip(sources, kinds, strict=True)
    scenes = (make_scene(mask, SCENES[kind], rng) for (mask, _), kind in pairs)
    figures = isolated(scenes, len(sources), "making scenes")
    return figures, np.array([answer for _, answer in sources])


@torch.no_grad()
def accuracy(model: ConvNet, pixels: Pixels, labels: Labels) -> float:
    """Return the share of right answers on pictures [N, 28, 28]."""
    model.eval()
    answers = torch.cat([model(part).argmax(1) for part in torch.split(normalise(pixels), 500)])
    return float((answers.numpy() == labels).mean())


def train(
    pixels: Pixels, labels: Labels, held: tuple[Pixels, Labels], epochs: int, seed: int
) -> ConvNet:
    """Train on pictures [N, 28, 28] and return the running average of the weights."""
    torch.manual_seed(seed)
    model, batch = ConvNet(), 128
    average = copy.deepcopy(model)
    inputs, targets = torch.as_tensor(pixels).unsqueeze(1), torch.as_tensor(labels)
    steps = epochs * math.ceil(len(inputs) / batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps, pct_start=0.15)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task("training", total=epochs)
        step = 0
        for epoch in range(1, epochs + 1):
            model.train()
            total = 0.0
            for chosen in torch.split(torch.randperm(len(inputs)), batch):
                picture = augment(inputs[chosen].float() / 255)
                loss = nn.functional.nll_loss(model((picture - MEAN) / STD), targets[chosen])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                total += float(loss.detach()) * len(chosen)
                step += 1
                with torch.no_grad():
                    for kept, new in zip(average.parameters(), model.parameters(), strict=True):
                        kept.lerp_(new, max(0.003, 1 / step))
            right = accuracy(average, *held)
            loss_now = total / len(inputs)
            text = f"loss {loss_now:.4f}  held-out {right:.2%}"
            progress.update(task, advance=1, description=text)
            if not progress.console.is_terminal:  # a log shows no bar
                print(f"epoch {epoch}/{epochs}  {text}", flush=True)
    return average.eval()


def measure(
    model: ConvNet, digits: Pixels, labels: Labels, per_kind: int, seed: int
) -> dict[str, float]:
    """Measure the model on the held-out digits, in every framing and every kind of scene."""
    images = [Image.fromarray(digit) for digit in digits]
    count = len(images)
    figures = {"28x28, handed in directly": accuracy(model, digits, labels)}
    for number, (kind, frame) in enumerate(FRAMINGS.items()):
        rng = np.random.default_rng([seed, 2, number])
        found = isolated((frame(image, rng) for image in images), count, kind)
        figures[f"framing: {kind}"] = accuracy(model, found, labels)
    rng = np.random.default_rng([seed, 1])
    for kind in SCENES:
        chosen = rng.permutation(count)[:per_kind]
        scenes = (make_scene(images[i], kind, rng) for i in chosen)
        found = isolated(scenes, len(chosen), kind)
        figures[f"scene: {kind}"] = accuracy(model, found, labels[chosen])
    return figures | measure_print(model)


def measure_print(model: ConvNet) -> dict[str, float]:
    """Measure digits printed in Pillow's own font, in colours and sizes."""
    figures: dict[str, float] = {}
    colours = (("black", "white"), ("white", "black"), ("crimson", "khaki"), ("gold", "navy"))
    for size in (24, 48, 96, 200, 600):
        pages = []
        for ink, paper in colours:
            for digit in range(10):
                page = Image.new("RGB", (2 * size, 2 * size), paper)
                font = ImageFont.load_default(size)
                ImageDraw.Draw(page).text((size * 0.7, size * 0.4), str(digit), ink, font)
                pages.append(page)
        answers = np.tile(np.arange(10), len(colours))
        figures[f"printed, {size} px, {len(colours)} pairs of colours"] = accuracy(
            model, isolated(pages, len(pages), "printed"), answers
        )
    return figures


def main() -> None:
    """Read, split, train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the digits")
    parser.add_argument("--out", type=Path, default=environment.ROOT / "weights" / "convnet.pth")
    parser.add_argument(
        "--measure", action="store_true", help="measure the weights of --out again; do not train"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the split and all else (0)")
    parser.add_argument("--epochs", type=int, default=70, help="rounds over the data (70)")
    parser.add_argument("--extra", type=float, default=0.6, help="made pictures, 1 is 16,000 (0.6)")
    parser.add_argument("--scenes", type=int, default=300, help="scenes measured of a kind (300)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (2)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    check_writable(options.out)
    digits, labels, kind = read_data(options.data)
    order = np.random.default_rng(options.seed).permutation(len(labels))
    held, rest = np.split(order, [min(HELD_OUT, len(labels) // 5)])
    held_out = digits[held], labels[held]
    scenes = min(options.scenes, len(held))
    if options.measure:
        model = ConvNet()
        model.load_state_dict(torch.load(options.out, weights_only=True))
        renew_figures(options.out, measure(model, *held_out, scenes, options.seed))
        return
    print(f"{len(labels)} digits, {len(held)} held out; making scenes to train on")
    rng = np.random.default_rng([options.seed, 0])
    extra, answers = make_extra(digits[rest], labels[rest], rng, options.extra)
    pixels = np.concatenate([digits[rest], extra])
    targets = np.concatenate([labels[rest], answers])
    model = train(pixels, targets, held_out, options.epochs, options.seed)
    figures = measure(model, *held_out, scenes, options.seed)
    for name, value in figures.items():
        print(f"{value:8.2%}  {name}")
    write_model(options, model, figures, kind, (len(labels), len(rest), len(held), len(answers)))


if __name__ == "__main__":
    main()
