"""Requests, and what tells a right answer from a wrong one."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Check = Callable[[bytes], str | None]  # what is wrong with the body of an answer, or None
_FEWEST_CLASSES = 5  # TorchServe's own handler answers the five most probable ones


@dataclass(frozen=True)
class Case:
    """A request and the check that its answer must pass."""

    name: str
    body: bytes
    content_type: str
    check: Check


def probabilities_check(expected: Mapping[str, float], tolerance: float) -> Check:
    """Check an answer about classes: {"probabilities": {class: p}}, or {class: p} as TorchServe's.

    `tolerance` is the largest difference of a probability, as a share of the largest one. The
    answer must hold the most probable class and at least five, or all if there are fewer.
    """
    label = max(expected, key=expected.__getitem__)
    largest = tolerance * expected[label]

    def check(body: bytes) -> str | None:
        answer = json.loads(body)
        if isinstance(answer, list):  # BentoML answers lists of pictures
            (answer,) = answer
        given = answer.get("probabilities", answer)
        if label not in given or len(given) < min(len(expected), _FEWEST_CLASSES):
            return f"class {label} is missing among {sorted(given)[:8]}"
        differences = {name: abs(value - expected[name]) for name, value in given.items()}
        worst = max(differences, key=differences.__getitem__)
        if differences[worst] <= largest:
            return None
        return f"class {worst} has probability {given[worst]}, expected {expected[worst]:.6f}"

    return check


def classes_check() -> Check:
    """Check no more than that an answer gives probabilities of classes, right or wrong."""

    def check(body: bytes) -> str | None:
        given = json.loads(body)
        able = len(given) >= _FEWEST_CLASSES and all(0 <= value <= 1 for value in given.values())
        return None if able else f"no probabilities of classes: {given}"

    return check


def turn_check(degree: int) -> Check:
    """Check an answer about a picture's rotation: {"model_degree": 0, 90, 180 or 270}."""

    def check(body: bytes) -> str | None:
        given = json.loads(body).get("model_degree")
        return None if given == degree else f"model_degree is {given}, expected {degree}"

    return check


def picture_check(expected: NDArray[np.uint8], tolerance: float) -> Check:
    """Check an answer that is a picture: `tolerance` is the mean difference of values in 0…1."""

    def check(body: bytes) -> str | None:
        with Image.open(io.BytesIO(body)) as image:
            given = np.asarray(image.convert("RGB"))
        if given.shape != expected.shape:
            return f"the picture is {given.shape}, expected {expected.shape}"
        mean = float(np.abs(given.astype(np.float32) - expected).mean()) / 255
        return None if mean <= tolerance else f"the picture differs by {mean:.4f} on average"

    return check
