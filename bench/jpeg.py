"""How long a large JPEG takes to become a tensor, beside TorchServe's way."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from torch import Tensor, from_numpy

from bench import tasks
from bench.pictures import photo
from bench.places import ROOT
from bench.results import Goal, Result, Series, Table, compare
from bench.rounds import Effort

_WIDTH, _HEIGHT = 4000, 3000
_GOAL = Goal("JPEG 4000x3000 to a 224x224 tensor, speed", "Pillow in full and torchvision", 4)
_REPEATS = 5  # decodings a round
_MAX_PIXELS = 50_000_000


def jpeg(effort: Effort) -> Result:
    """Decode and scale a photo of 12 megapixels both ways, in turn, in one process."""
    body = photo(_WIDTH, _HEIGHT)
    ways: dict[str, Callable[[bytes], Tensor]] = {
        "marsmith_handlers/image_codec.py": preparation(),
        "Pillow, torchvision": lambda given: tasks.standard_input(given, 256, 224),
    }
    tensors = [way(body) for way in ways.values()]
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(effort.rounds):
        for name, way in ways.items():
            times[name].append(_milliseconds(way, body))
    series = [Series(name, values) for name, values in times.items()]
    ours, theirs = (Series(one.system, [1 / value for value in one.values]) for one in series)
    table = Table("JPEG 4000x3000 to a tensor", "ms", series)
    result = Result("jpeg", [table], [compare(_GOAL, ours, [theirs])])
    result.notes.append(_difference(*tensors))
    return result


def preparation() -> Callable[[bytes], Tensor]:
    """Return how the classifier makes a picture a tensor, with torchvision's usual sizes."""
    sys.path.append(str(ROOT / "handlers"))
    from marsmith_handlers.image_classifier import ImageClassifier
    from marsmith_handlers.image_codec import open_picture
    from marsmith_handlers.image_response import JSON

    values = {"size": [224, 224], "crop": 0.875}
    values |= {"mean": tasks.IMAGENET_MEAN, "std": tasks.IMAGENET_STD}
    handler: Any = ImageClassifier()
    handler.config = handler.Config.read(values)
    handler.set_normalisation()

    def prepared(body: bytes) -> Tensor:
        return from_numpy(handler.prepare(open_picture(body, _MAX_PIXELS, handler.enough(JSON))))

    return prepared


def _milliseconds(way: Callable[[bytes], Tensor], body: bytes) -> float:
    begin = time.perf_counter()
    for _ in range(_REPEATS):
        way(body)
    return (time.perf_counter() - begin) / _REPEATS * 1e3


def _difference(ours: Tensor, theirs: Tensor) -> str:
    std = ours.new_tensor(tasks.IMAGENET_STD).reshape(-1, 1, 1)
    apart = (ours - theirs).abs() * std * 255
    return (
        f"The largest difference of a pixel is {apart.max():.0f} of 255, the mean one "
        f"{apart.mean():.2f}."
    )
