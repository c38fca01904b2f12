"""How often a digit is read right, framed in every way, and what finding its figure costs."""

from __future__ import annotations

import io
import time

import numpy as np
import torch
from PIL import Image

from bench import tasks
from bench.digit_stream import FRAMINGS, isolate_figure, labelled, mixed_stream
from bench.results import Comparison, Goal, Result, Series, Table
from bench.rounds import Effort

_COUNT = 1000
_LEAST_RIGHT = 0.99
_MOST_MS = 3.0
_WITH_GOALS = ("inverted", "off-centre", "enlarged", "coloured ground", "noisy", "JPEG")
_ALL = "the stream of the trial digits"


def figure(effort: Effort) -> Result:
    """Read digits that the weights have not seen, and time the finding of the figure alone."""
    torch.set_num_threads(1)
    result = Result("figure")
    right, costs = [], []
    for seed, kind in enumerate(FRAMINGS):
        spent, share = _read(kind, seed)
        right.append(Series(kind, [share]))
        costs.append(Series(kind, spent))
        if kind in _WITH_GOALS:
            goal = Goal(f"digits, {kind}: share that is read right", "all", _LEAST_RIGHT)
            result.comparisons.append(Comparison(goal, "Marsmith", "", share))
    streamed = [_decoded(one.body) for one in mixed_stream()]
    costs.append(Series(_ALL, [_timed(one)[0] for one in streamed * effort.rounds]))
    goal = Goal("time of a core to find a figure, median", "3 ms", 1.0, at_most=True)
    ratio = costs[-1].median / _MOST_MS
    result.comparisons.append(Comparison(goal, "Marsmith", "", ratio))
    result.tables = [
        Table(f"{len(labelled(_COUNT)):,} digits, framed in so many ways", "share right", right),
        Table("time of a core to find the figure", "ms", costs),
    ]
    result.notes.append("Pictures of 28 to 1,024 pixels; they are decoded before the time runs.")
    return result


def _read(kind: str, seed: int) -> tuple[list[float], float]:
    """Return the milliseconds that each figure took, and the share of right answers."""
    rng = np.random.default_rng([7, seed])
    spent, batches, labels = [], [], []
    for digit, label in labelled(_COUNT):
        milliseconds, found = _timed(FRAMINGS[kind](digit, rng))
        spent.append(milliseconds)
        batches.append(tasks.digit_input(found))
        labels.append(label)
    with torch.inference_mode():
        answers = tasks.digit_model()(torch.stack(batches)).argmax(1)
    return spent, float((answers.numpy() == np.array(labels)).mean())


def _timed(picture: Image.Image) -> tuple[float, Image.Image]:
    begin = time.process_time()
    found = isolate_figure(picture)
    return round(1e3 * (time.process_time() - begin), 4), found


def _decoded(body: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(body))
    image.load()
    return image
