"""Digits as people draw and photograph them: found in the picture, then classified."""

from __future__ import annotations

import torch
from image_classifier import ImageClassifier
from isolate_figure import isolate_figure
from PIL import Image


class DigitClassifier(ImageClassifier):
    """An image classifier that sees only the figure, framed as in MNIST: light on dark."""

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """Cut the figure out of its surroundings before the usual preparation."""
        return super().prepare(isolate_figure(image, self.config.size[0]))
