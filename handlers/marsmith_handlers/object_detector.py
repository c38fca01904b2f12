"""Images to boxes: what is where in a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from marsmith_handlers.arrays import Array, all_finite
from marsmith_handlers.class_names import read_names
from marsmith_handlers.image_codec import IMAGE_TYPES, Picture
from marsmith_handlers.image_response import JSON, Context, write_image
from marsmith_handlers.palette import draw_boxes
from marsmith_handlers.scaled_handler import ScaledHandler

_KEYS = ("boxes", "labels", "scores")


class ObjectDetector(ScaledHandler):
    """For models that take a list of images and return {"boxes", "labels", "scores"} of each.

    So do torchvision's detectors, which normalise by themselves: leave `mean` and `std` out. Class
    names come from `index_to_name.json` in the archive; label 0 is torchvision's background.
    The outputs do not tell how many classes there are, so the names are not counted: a map may
    begin at 1 and have gaps, as that of COCO has. A class without a name is called by its index.
    """

    @dataclass(frozen=True)
    class Config(ScaledHandler.Config):
        """`threshold`: boxes of a lower score are left out."""

        longest_side: int = 1333
        multiple: int = 1
        threshold: float = 0.5

    content_types = (JSON, *IMAGE_TYPES)

    def initialize(self, context: Context) -> None:
        """Load the model and the names of its classes."""
        super().initialize(context)
        self.names = read_names(self.model_dir)

    def enough(self, content_type: str) -> int | None:
        """Return what the model sees; a picture that goes back is needed whole."""
        return None if content_type in IMAGE_TYPES else super().enough(content_type)

    def check_outputs(self, outputs: Any) -> None:
        """Raise ValueError if the outputs are not one dict per image."""
        rows = outputs if isinstance(outputs, list) else [outputs]
        if not all(isinstance(row, dict) and row.keys() >= set(_KEYS) for row in rows):
            keys = ", ".join(map(repr, _KEYS))
            raise ValueError(f"the model's output is no list of dicts with {keys}")

    def infer(self, batch: Array) -> Any:
        """Run the model on a list of images [C, H, W], as detectors want it."""
        return self.model(list(batch))

    def answers(self, outputs: Any, pictures: list[Picture | None]) -> list[Any]:
        """Turn each picture's boxes into [{"box", "label", "index", "score"}], the surest first."""
        if not all_finite(outputs):
            raise ValueError("the model's output holds NaN or infinite values")
        return [self._boxes(one, picture) for one, picture in zip(outputs, pictures, strict=True)]

    def _boxes(self, output: dict[str, Any], picture: Picture | None) -> list[dict[str, Any]]:
        boxes, labels, scores = (np.asarray(output[key]) for key in _KEYS)
        kept = np.argsort(-scores, kind="stable")
        kept = kept[scores[kept] >= self.config.threshold]
        if picture:
            boxes = self._in_pixels_of(picture, boxes)
        rows = zip(boxes[kept].tolist(), labels[kept].tolist(), scores[kept].tolist(), strict=True)
        return [
            {
                "box": [round(side, 2) for side in box],
                "label": self.names.get(int(index), str(int(index))),
                "index": int(index),
                "score": round(score, 6),
            }
            for box, index, score in rows
        ]

    def _in_pixels_of(self, picture: Picture, boxes: Array) -> Array:
        """Scale left, top, right, bottom from the model's input to the picture that came in."""
        inner = np.array(self.inner_size(picture) * 2, np.float64)
        sides = np.array(picture.size * 2, np.float64)
        scaled: Array = (boxes.reshape(-1, 4) * (sides / inner)).clip(0, sides)
        return scaled

    def write(self, answer: Any, picture: Picture | None, content_type: str) -> Any:
        """Write the boxes, or the picture with them drawn on it."""
        if content_type == JSON or picture is None:
            return answer
        return write_image(draw_boxes(picture.image, answer), content_type)
