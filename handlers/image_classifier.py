"""Images to labels: the most probable class, its probability, and those of all classes."""

from __future__ import annotations

import json
from typing import Any

import torch
from image_handler import Context, ImageHandler


class ImageClassifier(ImageHandler):
    """For models whose output is one row of logits or log-probabilities per image.

    Class names come from `index_to_name.json` in the archive, {"0": "name", …}; without it
    classes are called by their number.
    """

    def initialize(self, context: Context) -> None:
        """Load the model and the names of its classes."""
        super().initialize(context)
        names = self.model_dir / "index_to_name.json"
        self.names: dict[str, str] = json.loads(names.read_text()) if names.exists() else {}

    def answers(self, outputs: torch.Tensor) -> list[Any]:
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
