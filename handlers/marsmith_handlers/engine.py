"""What computes a model. Each engine imports its own library, and no other does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from marsmith_handlers.arrays import Array
from marsmith_handlers.image_config import ImageConfig


class Engine(ABC):
    """A loaded model that takes and returns NumPy arrays."""

    on_gpu = False

    @abstractmethod
    def __call__(self, batch: Array | list[Array]) -> Any:
        """Compute a batch [N, C, H, W], or a list of [C, H, W] for models that take one.

        Returns an array, or where the model returns a dict, a list or a tuple, the same of arrays.
        """

    def card_decoder(self, config: ImageConfig) -> Any:
        """Return what decodes JPEGs where the model is computed, or None."""
        return None

    def empty(self, shape: tuple[int, ...]) -> Array:
        """Return an array to fill with a batch, laid out as the model takes it fastest."""
        return np.empty(shape, np.float32)

    def stack(self, pictures: Sequence[Array]) -> Array:
        """Make pictures [C, H, W] of one shape a batch [N, C, H, W]; one alone is not copied."""
        if len(pictures) == 1:
            return pictures[0][np.newaxis]
        batch = self.empty((len(pictures), *pictures[0].shape))
        for place, picture in enumerate(pictures):
            batch[place] = picture
        return batch
