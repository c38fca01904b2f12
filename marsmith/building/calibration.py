"""Split photos: some calibrate int8, the others are held out to test it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from marsmith.core.errors import BuildError
from marsmith.core.files_below import files_below
from marsmith.core.hashing import sha256_of

MOST_CALIBRATING, MOST_HELD_OUT = 200, 300
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True)
class Photos:
    """Files of photos. None is in both groups."""

    calibrating: tuple[Path, ...] = ()
    held_out: tuple[Path, ...] = ()


def split_photos(folder: Path) -> Photos:
    """Split the pictures below a folder in two, always in the same way.

    Raises BuildError if there are too few, ProjectError for a link that leads out.
    """
    files = [path for path in files_below(folder) if path.suffix.lower() in _PICTURES]
    if len(files) < 2:
        raise BuildError(
            f"{folder} holds {len(files) or 'no'} picture{'s' * (len(files) != 1)}, "
            "but some are needed to calibrate and others to test",
            "name a folder with some hundred photos like those in later requests",
            code="too-few-photos",
        )
    random.Random(0).shuffle(files)  # noqa: S311 (a sorted folder has one class after the other)
    middle = min(MOST_CALIBRATING, len(files) // 2)
    return Photos(tuple(files[:middle]), tuple(files[middle : middle + MOST_HELD_OUT]))


def digest(photos: Photos) -> str:
    """Return a digest of the contents of both groups, in order."""
    groups = (photos.calibrating, photos.held_out)
    lines = "\n\n".join("\n".join(map(sha256_of, group)) for group in groups)
    return sha256_of(lines.encode())[:16]
