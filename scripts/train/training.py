"""The loop that the photo models share: AdamW, one-cycle rate, averaged weights, resumable."""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environment import fail
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor, nn

Loss = Callable[[nn.Module, np.random.Generator, float], Tensor]
SAVE_EVERY = 50  # steps


def train(
    model: nn.Module,
    loss_of: Loss,
    rate: float,
    options: argparse.Namespace,
    *,
    bfloat16: bool = False,
) -> nn.Module:
    """Train for `options.steps` and return the running average of the weights, in eval mode.

    `loss_of(model, rng, progress)` draws a batch and returns its loss; `progress` runs from 0 to
    1. Every step draws from a generator of its own, so a run that was stopped, begun again with
    the same options, takes the same way as one that was not: `out` + ".resume" holds where it is.
    `bfloat16` is for models of dense convolutions, which processors with AMX compute in it faster.
    """
    steps = options.steps
    resume = options.out.with_name(options.out.name + ".resume")
    known = {
        "images": [str(folder.resolve()) for folder in options.images],
        "seed": options.seed,
        "steps": steps,
    }
    average = copy.deepcopy(model)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps))
    first = 0
    if resume.exists():
        first = _restore(resume, model, average, optimizer, schedule, known)
        print(f"going on after step {first} (to begin anew, remove {resume})")
    _run(
        range(first, steps),
        model,
        average,
        optimizer,
        schedule,
        loss_of,
        known,
        resume,
        bfloat16,
    )
    return average.eval()


def _run(
    steps: range,
    model: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    loss_of: Loss,
    known: dict[str, Any],
    resume: Path,
    bfloat16: bool,
) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn()) as progress:
        task = progress.add_task("training", total=steps.stop, completed=steps.start)
        recent = math.nan
        for step in steps:
            torch.manual_seed(known["seed"] * 1_000_003 + step)  # dropout draws from torch's own
            model.train()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss = loss_of(
                    model, np.random.default_rng([known["seed"], step]), step / steps.stop
                )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            _follow(average, model, min(0.998, step / (step + 10)))
            value = float(loss.detach())
            recent = value if math.isnan(recent) else 0.98 * recent + 0.02 * value
            progress.update(task, advance=1, description=f"training, loss {recent:.4f}")
            if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps.stop:
                _save(resume, model, average, optimizer, schedule, known, step + 1)


def _rate(part: float) -> float:
    """Return the share of the full rate: a short rise, then a half cosine down."""
    return part / 0.05 if part < 0.05 else 0.5 * (1 + math.cos(math.pi * (part - 0.05) / 0.95))


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, keep: float) -> None:
    target = model.state_dict()
    for key, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(target[key], 1 - keep)
        else:
            value.copy_(target[key])


def _save(
    path: Path,
    model: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    options: dict[str, Any],
    step: int,
) -> None:
    state = {
        "model": model.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "options": options,
        "step": step,
    }
    beside = path.with_name(path.name + ".tmp")
    beside.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, beside)
    beside.replace(path)


def _restore(
    path: Path,
    model: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    options: dict[str, Any],
) -> int:
    try:
        state = torch.load(path, weights_only=True)
        if state["options"] != options:
            fail(
                f"{path} is of a run with other options: {state['options']}",
                "give the same options to go on, or remove the file to begin anew",
            )
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        return int(state["step"])
    except (RuntimeError, ValueError, KeyError, OSError, EOFError) as error:
        fail(f"{path} cannot be read: {error}", "remove it to begin anew")
