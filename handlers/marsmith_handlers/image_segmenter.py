"""Images to masks: which class each pixel belongs to."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from marsmith_handlers.class_names import check_count, read_names
from marsmith_handlers.image_codec import Picture
from marsmith_handlers.image_response import JSON, write_image
from marsmith_handlers.palette import colour_name, palette
from marsmith_handlers.scaled_handler import ScaledHandler

_MASK_TYPE = "image/png"
_PICTURE_TYPES = ("image/jpeg", "image/webp")
_OPACITY = 0.5  # of the mask over the picture
_MOST_IN_A_BYTE = 256


class ImageSegmenter(ScaledHandler):
    """For models whose output is scores [classes, H, W] per image, as torchvision's segmenters.

    Their {"out": scores} is taken, and "aux" is not. Of one channel, a score above 0 is class 1.
    Class names come from `index_to_name.json` in the archive.
    """

    @dataclass(frozen=True)
    class Config(ScaledHandler.Config):
        """`mask`: what a PNG shows, the "ids" of the classes in grey, or their "colours"."""

        longest_side: int = 520
        multiple: int = 8
        mask: Literal["ids", "colours"] = "ids"

        def __post_init__(self) -> None:
            if self.mask not in ("ids", "colours"):
                raise ValueError(f"mask is 'ids' or 'colours', not {self.mask!r}")

    content_types = (JSON, _MASK_TYPE, *_PICTURE_TYPES)

    def enough(self, content_type: str) -> int | None:
        """Return what the model sees; a picture that goes back is needed whole."""
        return None if content_type in _PICTURE_TYPES else super().enough(content_type)

    def check_outputs(self, outputs: Any) -> None:
        """Read the names of the classes, which must be as many as the model has channels."""
        scores = _scores(outputs)
        if np.ndim(scores) != 4:
            shape = list(np.shape(scores))
            raise ValueError(f"the model's output has the shape {shape}, not [N, classes, H, W]")
        self.count = max(2, scores.shape[1])
        self.names = read_names(self.model_dir)
        check_count(self.names, self.count)

    def answers(self, outputs: Any, pictures: list[Picture | None]) -> list[Any]:
        """Turn scores [N, classes, H, W] into a mask of class ids per picture."""
        scores = _scores(outputs)
        if not np.isfinite(scores).all():
            raise ValueError("the model's output holds NaN or infinite values")
        ids = scores[:, 0] > 0 if scores.shape[1] == 1 else scores.argmax(axis=1)
        ids = ids.astype(np.uint8 if self.count <= _MOST_IN_A_BYTE else np.uint16)
        return [
            self._without_padding(one, picture) for one, picture in zip(ids, pictures, strict=True)
        ]

    def _without_padding(self, ids: NDArray[Any], picture: Picture | None) -> NDArray[Any]:
        if picture is None or not self.config.longest_side:
            return ids
        width, height = self.inner_size(picture)
        rows, columns = ids.shape  # a model may answer at a lower resolution
        right = round(columns * width / (width + -width % self.config.multiple))
        below = round(rows * height / (height + -height % self.config.multiple))
        return ids[: max(1, below), : max(1, right)]

    def write(self, answer: Any, picture: Picture | None, content_type: str) -> Any:
        """Write the shares of the classes, the mask, or the mask over its picture."""
        if content_type == JSON or picture is None:
            height, width = answer.shape
            size = picture.size if picture else (width, height)
            return {"width": size[0], "height": size[1], "classes": self._classes(answer)}
        mask = Image.fromarray(answer).resize(picture.size, Image.Resampling.NEAREST)
        if content_type == _MASK_TYPE:
            return self._png(np.asarray(mask), self._classes(answer))
        return write_image(self._laid_over(picture.image, np.asarray(mask)), content_type)

    def _laid_over(self, image: Image.Image, mask: NDArray[Any]) -> Image.Image:
        """Return a picture with a mask over it; class 0, the ground, stays as it is."""
        laid_over = image.convert("RGB").copy()
        seen = Image.fromarray((mask > 0).astype(np.uint8) * round(255 * _OPACITY))
        laid_over.paste(Image.fromarray(palette(self.count)[mask]), mask=seen)
        return laid_over

    def _classes(self, mask: NDArray[Any]) -> list[dict[str, Any]]:
        """Return index, label, share and colour of each class that the mask has, largest first."""
        counts = np.bincount(mask.ravel(), minlength=self.count)
        found = sorted(np.flatnonzero(counts).tolist(), key=lambda index: -int(counts[index]))
        return [
            {
                "index": index,
                "label": self.names.get(index, str(index)),
                "share": round(float(counts[index]) / mask.size, 6),
                "colour": colour_name(index),
            }
            for index in found
        ]

    def _png(self, mask: NDArray[Any], classes: list[dict[str, Any]]) -> bytes:
        """Write a mask without loss; colours carry their legend as the text chunk "legend"."""
        information = PngInfo()
        if self.config.mask == "ids":
            image = Image.fromarray(mask)
        else:
            image = Image.fromarray(palette(self.count)[mask])
            information.add_itxt("legend", json.dumps(classes, ensure_ascii=False))
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=3, pnginfo=information)
        return buffer.getvalue()


def _scores(outputs: Any) -> Any:
    """Return a model's main output: "out" of a dict, as torchvision names it, or the first."""
    if isinstance(outputs, dict):
        return outputs["out"] if "out" in outputs else next(iter(outputs.values()))
    return outputs[0] if isinstance(outputs, (list, tuple)) else outputs
