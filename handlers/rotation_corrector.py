"""Which way up a picture is, or the picture set upright."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from marsmith_handlers.arrays import Array, Floats, log_softmax, softmax
from marsmith_handlers.image_codec import IMAGE_TYPES, Picture
from marsmith_handlers.image_config import ImageConfig
from marsmith_handlers.image_handler import ImageHandler
from marsmith_handlers.image_response import JSON, TEXT, write_image
from PIL import Image

_TURNS = (None, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)


class RotationCorrector(ImageHandler):
    """For models with four classes: turn by 0, 90, 180 or 270 degrees counter-clockwise."""

    @dataclass(frozen=True)
    class Config(ImageConfig):
        """`agreement`: ask about all turns of a picture and of its mirror image, and take what
        fits them best. `temperature` divides the log-probabilities (Guo et al., On Calibration of
        Modern Neural Networks, ICML 2017), so that `confidence` is how often an answer is right.

        Below `min_confidence` an answer is no success, and the picture comes back as it was.
        """

        agreement: bool = True
        temperature: float = 1.0
        min_confidence: float = 0.5

    content_types = (JSON, *IMAGE_TYPES, TEXT)

    def enough(self, content_type: str) -> int | None:
        """Return what the model sees; a picture that goes back is needed whole."""
        return None if content_type in IMAGE_TYPES else super().enough(content_type)

    def infer(self, batch: Array) -> Any:
        """Return logits [N, 4] of [N, C, S, S], maybe as eight views agree on them."""
        if not self.config.agreement:
            return log_softmax(super().infer(batch)) / self.config.temperature
        return self.agreed(self.views(batch)) / self.config.temperature

    def views(self, batch: Array) -> Floats:
        """Return log-probabilities [4, 2, N, 4]: each turn, of pictures and of mirror images."""
        both = np.concatenate([batch, batch[..., ::-1]])
        turned = np.concatenate([np.rot90(both, turn, (2, 3)) for turn in range(4)])
        seen: Floats = log_softmax(super().infer(turned)).reshape(4, 2, len(batch), 4)
        return seen

    def agreed(self, seen: Floats) -> Floats:
        """Return what the views [4, 2, N, 4] agree on, [N, 4]."""
        # A picture already turned by k needs k quarter turns less: class c shows up as c - k.
        agreed = np.mean([np.roll(seen[turn], turn, axis=2) for turn in range(4)], axis=0)
        # What must be turned to the left needs as much to the right in the mirror.
        both: Floats = (agreed[0] + agreed[1][:, [0, 3, 2, 1]]) / 2
        return both

    def answers(self, outputs: Any, pictures: list[Picture | None]) -> list[Any]:
        """Turn [N, 4] into {"model_degree", "exif_degree", "confidence", "success"}.

        Both degrees are counter-clockwise: `exif_degree` is what the EXIF orientation asked for
        and was done, `model_degree` what sets the picture upright after that.
        """
        probabilities = softmax(outputs)
        confidences, classes = probabilities.max(axis=1), probabilities.argmax(axis=1)
        rows = zip(classes.tolist(), confidences.tolist(), pictures, strict=True)
        return [
            {
                "model_degree": 90 * turn,
                "exif_degree": picture.exif_degree if picture else 0,
                "confidence": round(confidence, 6),
                "success": confidence >= self.config.min_confidence,
            }
            for turn, confidence, picture in rows
        ]

    def write(self, answer: Any, picture: Picture | None, content_type: str) -> Any:
        """Write the answer, its degree alone as text, or the picture set upright."""
        if content_type == TEXT:
            return str(answer["model_degree"])
        if content_type == JSON or picture is None:
            return answer
        turn = _TURNS[answer["model_degree"] // 90] if answer["success"] else None
        upright = picture.image if turn is None else picture.image.transpose(turn)
        return write_image(upright, content_type)
