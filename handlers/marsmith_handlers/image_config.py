"""What `handler_config` in archives.toml tells every image handler."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from marsmith_handlers.image_request import MAX_IMAGES


@dataclass(frozen=True)
class ImageConfig:
    """The `handler_config` table of an archive. `size` is (height, width) in pixels."""

    size: tuple[int, int] = (224, 224)
    mode: str = "RGB"  # or "L", grey
    mean: tuple[float, ...] = (0.0,)  # taken off values in 0…1; per channel, or one for all
    std: tuple[float, ...] = (1.0,)
    # 0 stretches a picture to `size`. Else its middle is cut out, this part of the shorter side:
    # 0.875 is what torchvision's Resize(256) and CenterCrop(224) leave.
    crop: float = 0.0
    max_pixels: int = 50_000_000  # larger images are refused before they are decoded
    max_scans: int = 20  # of a progressive JPEG with that many pixels; smaller ones may have more
    max_images: int = MAX_IMAGES  # in one request
    threads: int = 0  # 0: the machine's cores, shared among the workers
    engine: str = "auto"  # see model_loader.py
    dtype: str = "float32"

    @classmethod
    def read(cls, values: dict[str, Any]) -> ImageConfig:
        """Take the table of a model-config.yaml; raises ValueError for a key it does not know."""
        known = {field.name for field in fields(cls)}
        if unknown := values.keys() - known:
            names = ", ".join(sorted(known))
            raise ValueError(f"unknown handler_config key {min(unknown)!r}; known: {names}")
        for name in ("max_pixels", "max_scans", "max_images"):
            if values.get(name, 1) < 1:
                raise ValueError(f"handler_config {name} must be at least 1, not {values[name]}")
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return cls(**(values | lists))
