"""Digits as people draw and photograph them: found in the picture, then classified."""

from __future__ import annotations

from dataclasses import replace

from isolate_figure import isolate_figure
from marsmith_handlers.arrays import Array
from marsmith_handlers.image_classifier import ImageClassifier
from marsmith_handlers.image_codec import Picture

_SEEN_SIDE = 1024  # pixels; a digit may be small in a large photo


class DigitClassifier(ImageClassifier):
    """An image classifier that sees only the figure, framed as in MNIST: light on dark."""

    contrast = True

    def enough(self, content_type: str) -> int | None:
        """Ask for more pixels than the model takes: the figure is a part of the picture."""
        return _SEEN_SIDE

    def prepare(self, picture: Picture) -> Array:
        """Cut the figure out of its surroundings before the usual preparation."""
        figure = isolate_figure(picture.image, self.config.size[0])
        return super().prepare(replace(picture, image=figure))
