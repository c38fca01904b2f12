"""Images to labels: the most probable class, its probability, and those of all classes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from image_codec import Picture
from image_handler import ImageConfig, ImageHandler
from image_response import JSON, TEXT, Context
from PIL import Image, ImageOps


class ImageClassifier(ImageHandler):
    """For models whose output is one row of logits or log-probabilities per image.

    Class names come from `index_to_name.json` in the archive, {"0": "name", …}; without it
    classes are called by their number.
    """

    @dataclass(frozen=True)
    class Config(ImageConfig):
        """`invert`: true, false, or "auto" to turn dark on light into light on dark, as MNIST."""

        invert: bool | Literal["auto"] = False

        def __post_init__(self) -> None:
            if self.invert not in (True, False, "auto"):
                raise ValueError(f"invert is true, false or 'auto', not {self.invert!r}")

    content_types = (JSON, TEXT)
    takes_tensors = True

    def initialize(self, context: Context) -> None:
        """Load the model and the names of its classes."""
        super().initialize(context)
        names = self.model_dir / "index_to_name.json"
        self.names: dict[str, str] = json.loads(names.read_text()) if names.exists() else {}

    def prepare(self, picture: Picture) -> torch.Tensor:
        """Turn a picture into the model's input [C, H, W], light on dark if the config says so."""
        invert = self.config.invert
        if invert is True or (invert and _is_light(picture.image)):
            picture = replace(picture, image=ImageOps.invert(picture.image))
        return super().prepare(picture)

    def answers(self, outputs: torch.Tensor, pictures: list[Picture | None]) -> list[Any]:
        """Turn [N, classes] into {"label", "confidence", "probabilities"} per image."""
        # On log-probabilities softmax changes nothing, so both kinds of models are right here.
        rows = outputs.softmax(dim=1).double().round(decimals=6).tolist()
        return [self._answer(row) for row in rows]

    def _answer(self, row: list[float]) -> dict[str, Any]:
        probabilities = {self.names.get(str(i), str(i)): value for i, value in enumerate(row)}
        label = max(probabilities, key=probabilities.__getitem__)
        return {
            "label": label,
            "confidence": probabilities[label],
            "probabilities": probabilities,
        }


def _is_light(image: Image.Image) -> bool:
    """Tell whether the ground, seen along the border, is lighter than middle grey."""
    grey = np.asarray(image.convert("L"))
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return bool(np.median(border) > 127)
