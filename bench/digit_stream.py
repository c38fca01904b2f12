"""The digits that are sent: as MNIST frames them, and as people send them, each a different one."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from bench.failures import BenchError
from bench.places import DIGITS, ROOT

sys.path += [str(ROOT / name) for name in ("handlers", "model_defs", "scripts/train")]

from digit_data import read_pairs
from digit_framings import FRAMINGS, own_digits
from isolate_figure import isolate_figure

__all__ = ["FRAMINGS", "Sent", "framed_stream", "isolate_figure", "labelled", "mixed_stream"]

COUNT = 200
_HELD_OUT = 1000  # as scripts/train/digits.py holds out: the weights have not seen them
_PICTURES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}
# What a camera or a scanner makes is no PNG.
_AS_JPEG = {"JPEG", "noisy", "uneven light", "paper", "photographed"}


@dataclass(frozen=True)
class Sent:
    """A picture as it is sent."""

    name: str
    body: bytes
    content_type: str


@lru_cache
def labelled(count: int) -> list[tuple[Image.Image, int]]:
    """Return up to so many digits framed as MNIST's, with labels: held out ones, or drawn here."""
    if DIGITS.exists() and (pairs := read_pairs(DIGITS))[0]:
        pixels, labels = np.concatenate(pairs[0]), np.concatenate(pairs[1])
        order = np.random.default_rng(0).permutation(len(labels))[:_HELD_OUT][:count]
        return [(Image.fromarray(pixels[one]), int(labels[one])) for one in order]
    return list(own_digits(np.random.default_rng(0), count))


def framed_stream(count: int = COUNT) -> list[Sent]:
    """Return digits of 28x28 pixels, framed as MNIST's are.

    One of a hundred of MNIST's own is left out: our handler frames it anew, TorchServe's does not.
    """
    rng = np.random.default_rng(1)
    framed = [isolate_figure(FRAMINGS["plain"](one, rng)) for one, _ in labelled(_enough(count))]
    kept = [one for one in framed if isolate_figure(one).tobytes() == one.tobytes()]
    return [_sent(f"digit {number}", one, False) for number, one in enumerate(kept[:count])]


def mixed_stream(count: int = COUNT) -> list[Sent]:
    """Return digits framed in every way in turn, or the pictures of the folder that was named."""
    if DIGITS.exists() and (photos := _photos(DIGITS)):
        if len(photos) < count:
            raise BenchError(
                f"the folder of digits holds {len(photos)} pictures only",
                f"give at least {count}, or IDX files",
            )
        return photos[:count]
    rng = np.random.default_rng(2)
    kinds = list(FRAMINGS)
    return [
        _sent(f"digit {number}, {kind}", FRAMINGS[kind](digit, rng), kind in _AS_JPEG)
        for number, (digit, _) in enumerate(labelled(_enough(count))[:count])
        for kind in (kinds[number % len(kinds)],)
    ]


def _enough(count: int) -> int:
    """Return how many to draw, so that as many are left when some are left out."""
    return count * 6 // 5


def _photos(folder: Path) -> list[Sent]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _PICTURES)
    return [Sent(one.name, one.read_bytes(), _PICTURES[one.suffix.lower()]) for one in paths]


def _sent(name: str, picture: Image.Image, as_jpeg: bool) -> Sent:
    kind = "JPEG" if as_jpeg else "PNG"
    return Sent(name, _encoded(picture, kind), f"image/{kind.lower()}")


def _encoded(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"quality": 85} if kind == "JPEG" else {}))
    return buffer.getvalue()
