"""JPEGs decoded, scaled and normalised on a GPU, all those of a batch at once.

The card takes baseline JPEGs that are grey or RGB, and upright without EXIF. The CPU decodes all
other pictures. If the card fails on one JPEG, the CPU decodes the whole batch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg

from marsmith_handlers.image_codec import Picture, opened, orientation
from marsmith_handlers.image_config import ImageConfig
from marsmith_handlers.image_request import RequestError
from marsmith_handlers.picture_cost import scans

logger = logging.getLogger(__name__)

_MODES = {"L": ImageReadMode.GRAY, "RGB": ImageReadMode.RGB}
# The image of a picture whose pixels lie on the card alone. No hook sees it: handlers whose hooks
# look at pictures have no CardDecoder (ImageHandler.looks_at_pictures).
_UNSEEN = Image.new("L", (1, 1))
Decoded = dict[int, tuple[Picture, torch.Tensor]]  # by the id() of the JPEG's bytes


class CardDecoder:
    """Prepares JPEGs as a handler with this `config` prepares pictures on the CPU."""

    def __init__(
        self, config: ImageConfig, device: torch.device, stream: AbstractContextManager[Any]
    ) -> None:
        """`stream` is entered for each batch; it is the one that the model computes on."""
        self._config, self._device, self._stream = config, device, stream
        self._mean = torch.tensor(config.mean, device=device).reshape(-1, 1, 1)
        self._std = torch.tensor(config.std, device=device).reshape(-1, 1, 1)

    def decode(self, requests: Iterable[Iterable[Any]]) -> Decoded:
        """Return the pictures of all requests that the card decodes, and the model's inputs."""
        taken = {id(body): (body, size) for items in requests for body, size in self._taken(items)}
        given = [torch.frombuffer(bytearray(body), dtype=torch.uint8) for body, _ in taken.values()]
        if not given:
            return {}
        try:
            with torch.inference_mode(), self._stream:
                pixels = decode_jpeg(given, _MODES[self._config.mode], self._device)
                inputs = [self._prepared(one) for one in pixels]
        except RuntimeError as error:  # one is damaged, or the card's memory is full
            logger.info("The CPU decodes this batch: %s", error)
            return {}
        return {
            key: (Picture(_UNSEEN, size, cost=size[0] * size[1]), one)
            for (key, (_, size)), one in zip(taken.items(), inputs, strict=True)
        }

    def _taken(self, items: Iterable[Any]) -> Iterator[tuple[bytes, tuple[int, int]]]:
        """Yield a request's JPEGs and their sizes, up to the first item for the CPU."""
        pixels_left = self._config.max_pixels
        for item in items:
            if not isinstance(item, bytes) or not (size := self._size(item, pixels_left)):
                return
            pixels_left -= size[0] * size[1]
            yield item, size

    def _size(self, body: bytes, max_pixels: int) -> tuple[int, int] | None:
        """Return (width, height) of a JPEG that the card decodes as the CPU does, else None."""
        if not body.startswith(b"\xff\xd8"):
            return None
        try:
            image = opened(body, max_pixels)
            found = scans(body)
            cheap = found.pixels // self._config.max_scans <= max_pixels
            whole = cheap and not found.lacks_end_mark
        except RequestError:  # the CPU meets it as well, and says so
            return None
        plain = image.format == "JPEG" and image.mode in _MODES and orientation(image) == 1
        return image.size if whole and plain and "progressive" not in image.info else None

    def _prepared(self, pixels: torch.Tensor) -> torch.Tensor:
        """Scale and normalise uint8 [C, H, W] as ImageHandler.prepare does."""
        height, width = self._config.size
        rows, columns = pixels.shape[1:]
        scales = rows / height, columns / width  # pixels of the picture for one of the model's
        if self._config.crop:
            scales = (self._config.crop * min(scales),) * 2
        down, across = (
            weights(length, size, scale, self._device)
            for length, size, scale in zip((rows, columns), (height, width), scales, strict=True)
        )
        values = down @ pixels.to(torch.float32) @ across.T
        return (values / 255 - self._mean) / self._std


@lru_cache(maxsize=64)
def weights(length: int, size: int, scale: float, device: torch.device) -> torch.Tensor:
    """Return [size, length]: how Pillow's bilinear filter scales the middle of a line.

    That middle is `size` times `scale` pixels long (Pillow's Resample.c, precompute_coeffs).
    """
    first = (length - size * scale) / 2
    centres = first + (torch.arange(size, device=device, dtype=torch.float64) + 0.5) * scale
    pixels = torch.arange(length, device=device, dtype=torch.float64) + 0.5
    reach = max(scale, 1.0)
    found = (1 - (pixels - centres[:, None]).abs() / reach).clamp(min=0)
    return (found / found.sum(1, keepdim=True)).to(torch.float32)
