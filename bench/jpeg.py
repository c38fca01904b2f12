"""How long a large JPEG takes to become a tensor, beside TorchServe's way and what is possible."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from itertools import product
from statistics import median
from typing import Any

from PIL import Image
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
_LARGE = ((0, 2), (0.0, 5.0), (75, 85, 95))  # which photo, grain, quality
_LIMIT = 35.0  # ms
_SHORTER = 256  # pixels, of which the middle is cut out


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
    _large(effort, result)
    return result


def _large(effort: Effort, result: Result) -> None:
    """Add what photos of 24 megapixels cost, beside what no one can do without."""
    prepare = preparation()
    ours, least = Series("Marsmith"), Series("decoding and scaling alone")
    files = []
    for number, grain, quality in product(*_LARGE):
        body = photo(6000, 4000, number, quality=quality, grain=grain)
        costs = [
            (_core_time(prepare, body), _core_time(_least, body)) for _ in range(effort.rounds)
        ]
        for one, cost in zip((ours, least), zip(*costs, strict=True), strict=True):
            one.values.append(median(cost))
        ours_, least_ = ours.values[-1], least.values[-1]
        name = f"{len(body) / 1e6:.1f} MB, quality {quality}, {'grain' if grain else 'no grain'}"
        files.append(f"{name}: {ours_:.1f} ms, of which {least_:.1f} alone")
    work = "JPEG 6000x4000 to a 224x224 tensor"
    result.tables.append(Table(f"{work}, one value a file", "ms of a core", [ours, least]))
    limit = Series(f"{_LIMIT:.0f} ms", [_LIMIT] * len(files))
    goal = Goal(
        f"{work}, time of a core", "libjpeg-turbo at an eighth, and Pillow's scaling", 1.1, True
    )
    result.comparisons.append(compare(goal, ours, [least], less=True))
    goal = Goal(f"{work}, time of a core", "a limit", 1, True)
    result.comparisons.append(compare(goal, ours, [limit], less=True))
    result.notes.append(
        "A JPEG's codes are read one after the other, whatever the scale, so a photo of 24 "
        f"megapixels costs by its bytes. {'; '.join(files)}."
    )


def _least(body: bytes) -> None:
    """Decode at the smallest scale that is enough, and scale: nothing is checked."""
    with Image.open(io.BytesIO(body)) as image:
        image.draft(None, (_SHORTER, _SHORTER))
        image.resize((224, 224), Image.Resampling.BILINEAR)


def _core_time(way: Callable[[bytes], Any], body: bytes) -> float:
    begin = time.thread_time()
    way(body)
    return 1000 * (time.thread_time() - begin)


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
