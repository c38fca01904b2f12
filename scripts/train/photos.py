"""Photos to train on: which are held out, and how they are read."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import torch
from environment import ROOT, fail
from PIL import Image, ImageOps
from rich.progress import track
from weights_file import check_writable

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def parse_options(description: str, out: str, steps: int) -> argparse.Namespace:
    """Read the command line that the photo models share: images, out, seed, steps, threads."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--images", type=Path, required=True, nargs="+", help="folders of the photos"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "weights" / out)
    parser.add_argument("--seed", type=int, default=0, help="of the split and all else (0)")
    parser.add_argument("--steps", type=int, default=steps, help=f"of the training ({steps})")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (2)")
    options = parser.parse_args()
    check_writable(options.out)
    torch.set_num_threads(options.threads)
    return options


def read_photos(folders: list[Path], shorter_side: int) -> dict[str, Image.Image]:
    """Return the upright RGB photos below folders by name, their shorter side at most so long."""
    paths = {name: path for folder in folders for name, path in _photos_in(folder).items()}
    photos = {}
    for name, path in track(paths.items(), "reading photos", transient=True):
        try:
            with Image.open(path) as image:
                photo = ImageOps.exif_transpose(image).convert("RGB")
        except (OSError, ValueError) as error:
            fail(f"{path} is no picture: {error}", "remove it from the folder, or mend it")
        scale = shorter_side / min(photo.size)
        if scale < 1:
            photo = photo.resize(
                (round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS
            )
        photos[name] = photo
    return photos


def _photos_in(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        fail(f"there is no folder {folder}", "name the folder of the photos: --images DIR")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS)
    if len(paths) < 10:
        fail(f"{folder} holds {len(paths)} photos", "name a folder with photos: --images DIR")
    return {f"{folder.resolve().name}/{path.relative_to(folder)}": path for path in paths}


def split(names: list[str], held_out: int, seed: int) -> tuple[list[str], list[str]]:
    """Return (trained on, held out): the same photos for the same names and seed."""
    order = np.random.default_rng(seed).permutation(len(names))
    chosen = set(order[: min(held_out, len(names) // 5)])
    parts: tuple[list[str], list[str]] = ([], [])
    for index, name in enumerate(sorted(names)):
        parts[index in chosen].append(name)
    return parts


def kind_of(name: str) -> str:
    """Return what kind of photo it is: what `kind-NUMBER` says, or else its folder's name."""
    named = re.match(r"([a-z]+)-\d+\.", Path(name).name)
    return named[1] if named else Path(name).parent.name
