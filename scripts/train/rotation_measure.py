"""Measure the rotation model on held-out photos, as its handler asks it."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import skimage.data
import torch
from marsmith_handlers.image_codec import Picture
from marsmith_handlers.torch_engines import TorchEngine
from photos import kind_of
from PIL import Image, ImageOps
from rich.progress import track
from rotation_corrector import RotationCorrector
from rotation_pictures import MEAN, SIDE, STD
from torch import Tensor, nn
from torch.nn import functional

Photos = dict[str, Image.Image]
TEMPERATURES = [step / 20 for step in range(2, 61)]
LEAST = (0.5, 0.7, 0.9)  # of confidence


def _saved_poorly(photo: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    photo.save(stream, "JPEG", quality=15)
    return Image.open(stream).convert("RGB")


# Other ways in which a photo may come.
WAYS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "the middle square alone": lambda photo: ImageOps.fit(photo, (min(photo.size),) * 2),
    "with black borders, to a square": lambda photo: ImageOps.pad(photo, (max(photo.size),) * 2),
    "with a white frame": lambda photo: ImageOps.expand(photo, min(photo.size) // 5, "white"),
    "grey": lambda photo: photo.convert("L").convert("RGB"),
    "JPEG of quality 15": _saved_poorly,
}

OF_A_PACKAGE = ("astronaut", "camera", "chelsea", "coffee", "rocket")  # scikit-image's


@dataclass(frozen=True)
class Figures:
    """What the card says."""

    counts: list[Counter[str]]  # of the photos by kind: trained on, calibrated on, held out
    right: dict[str, float]
    temperature: float
    error: float
    error_before: float

    def data_table(self) -> str:
        """Return how many photos of each kind there were."""
        lines = ["| photos | trained on | calibrated on | held out |", "| --- | --- | --- | --- |"]
        for kind in [*self.counts[0], "all"]:
            numbers = [part.total() if kind == "all" else part[kind] for part in self.counts]
            lines.append(f"| {kind} | {' | '.join(map(str, numbers))} |")
        return "\n".join(lines)

    def table(self) -> str:
        """Return the right answers."""
        rows = [f"| {name} | {value:.1%} |" for name, value in self.right.items()]
        return "\n".join(["| test | right |", "| --- | --- |", *rows])


def measure(model: nn.Module, trained: Photos, calibrated: Photos, held_out: Photos) -> Figures:
    """Return the shares of right answers over all four turns of all photos."""
    temperature = _fitted(_ask(model, calibrated)[0])
    outputs, looks = _ask(model, held_out)
    correct = outputs.argmax(dim=1) == 0
    confidence = (outputs / temperature).softmax(dim=1).max(dim=1).values
    right = _by_kind(list(map(kind_of, held_out)), correct, looks)
    for least in LEAST:
        sure = confidence >= least
        right[f"confidence {least} or more, which {_share(sure):.1%} have"] = _share(correct[sure])
    for name, way in WAYS.items():
        right[name] = _right(model, {key: way(photo) for key, photo in held_out.items()})
    others = {name: Image.fromarray(getattr(skimage.data, name)()) for name in OF_A_PACKAGE}
    right[f"{len(others)} photos of scikit-image"] = _right(
        model, {name: photo.convert("RGB") for name, photo in others.items()}
    )
    before = calibration_error(outputs.softmax(dim=1).max(dim=1).values, correct)
    counts = [Counter(map(kind_of, part)) for part in (trained, calibrated, held_out)]
    error = calibration_error(confidence, correct)
    return Figures(counts, right, temperature, error, before)


def _fitted(outputs: Tensor) -> float:
    """Return the temperature at which the confidence of photos, all upright, fits best."""
    upright = torch.zeros(len(outputs), dtype=torch.long)
    losses = {t: float(functional.cross_entropy(outputs / t, upright)) for t in TEMPERATURES}
    return min(losses, key=lambda t: losses[t])


def _by_kind(kinds: list[str], correct: Tensor, looks: Tensor) -> dict[str, float]:
    right = {"all": _share(correct), "all, one look": _share(looks)}
    for kind in sorted(set(kinds)):
        of_kind = torch.tensor([one == kind for one in kinds])
        right[kind] = _share(correct[of_kind])
        right[f"{kind}, one look"] = _share(looks[of_kind])
    return right


def _right(model: nn.Module, photos: Photos) -> float:
    return _share(_ask(model, photos)[0].argmax(dim=1) == 0)


def calibration_error(confidence: Tensor, correct: Tensor) -> float:
    """Return the expected calibration error in ten bins (Guo et al., ICML 2017)."""
    bins = (confidence * 10).long().clamp(max=9)
    gaps = [
        float(abs(confidence[bins == k].mean() - correct[bins == k].float().mean()))
        * _share(bins == k)
        for k in sorted(set(bins.tolist()))
    ]
    return sum(gaps)


def _share(values: Tensor) -> float:
    return float(values.float().mean())


@torch.no_grad()
def _ask(model: nn.Module, photos: Photos) -> tuple[Tensor, Tensor]:
    """Return what eight views agree on [N, 4], and whether one look at each turn is right [N, 4].

    The views of a turned photo are those of the upright one, so each is seen once.
    """
    handler = RotationCorrector()
    handler.config = RotationCorrector.Config((SIDE, SIDE), mean=MEAN, std=STD)
    handler.set_normalisation()
    handler.model = TorchEngine(model, channels_last=True)
    agreed, looks = [], []
    for photo in track(photos.values(), "measuring", transient=True):
        array = handler.prepare(Picture(photo, photo.size))[np.newaxis]
        views = handler.views(array)
        agreed.append(torch.from_numpy(handler.agreed(views)))
        looks.append([view.argmax() == -turn % 4 for turn, view in enumerate(views[:, 0, 0])])
    return torch.cat(agreed), torch.tensor(looks)
