"""Read labelled digits: IDX files, or folders of pictures named by digit."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from environment import fail
from isolate_figure import isolate_figure
from marsmith_handlers.image_codec import open_picture
from marsmith_handlers.image_request import RequestError
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]

MEAN, STD = 0.1302, 0.3069  # of the training pictures of MNIST, on a scale of 0 to 1
MAX_PIXELS = 50_000_000


def read_idx(path: Path) -> Pixels:
    """Read one IDX file of unsigned bytes, plain or gzip."""
    hint = "the file may be cut short or of another format; fetch it again"
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        fail(f"{path} cannot be read: {error}", hint)
    rank = raw[3] if raw[:3] == b"\0\0\x08" and len(raw) > 3 else 0
    shape = tuple(np.frombuffer(raw, ">u4", rank, 4).tolist()) if len(raw) >= 4 + 4 * rank else ()
    if rank not in (1, 3) or len(raw) - 4 - 4 * rank != math.prod(shape):
        fail(f"{path} is no IDX file of unsigned bytes", hint)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def read_pairs(folder: Path) -> tuple[list[Pixels], list[Labels], str]:
    """Read every pair of IDX image and label files in a folder."""
    pixels: list[Pixels] = []
    labels: list[Labels] = []
    for path in sorted(folder.glob("*images*idx3*")):
        name = path.name.replace("images", "labels").replace("idx3", "idx1")
        other = folder / name
        if not other.is_file():
            fail(f"{path.name} has no labels beside it", f"put {name} into {folder}")
        digits, answers = read_idx(path), read_idx(other)
        if digits.shape[1:] != (28, 28) or answers.shape != digits.shape[:1]:
            fail(
                f"{path.name} {digits.shape} and {name} {answers.shape} do not match",
                "expected N pictures of 28x28 and N labels from the same set",
            )
        if len(answers) and answers.max() > 9:
            fail(f"{name} holds the label {answers.max()}", "labels are the digits 0 to 9")
        pixels.append(digits)
        labels.append(answers.astype(np.int64))
    return pixels, labels, "MNIST naming, IDX"


def read_folders(folder: Path) -> tuple[list[Pixels], list[Labels], str]:
    """Read folders named 0 to 9 of pictures, each figure isolated."""
    pixels: list[Pixels] = []
    labels: list[Labels] = []
    for digit in range(10):
        for path in sorted((folder / str(digit)).glob("[!.]*")):
            try:
                figure = isolate_figure(open_picture(path.read_bytes(), MAX_PIXELS).image)
            except (OSError, RequestError) as error:
                fail(f"{path} cannot be read as a picture: {error}", "mend it or take it out")
            pixels.append(np.asarray(figure)[None])
            labels.append(np.array([digit]))
    return pixels, labels, "pictures in folders named by digit, figures isolated"


def read_data(folder: Path) -> tuple[Pixels, Labels, str]:
    """Read all digits of a folder as pictures [N, 28, 28] and labels [N]."""
    if not folder.is_dir():
        fail(f"there is no folder {folder}", "give the folder of the digits with --data")
    pixels, labels, kind = read_pairs(folder)
    if not pixels:
        pixels, labels, kind = read_folders(folder)
    if not pixels:
        fail(
            f"{folder} holds no digits",
            "expected *-images-idx3-ubyte[.gz] with their labels, or folders 0 to 9 of pictures",
        )
    digits, answers = np.concatenate(pixels), np.concatenate(labels)
    if len(answers) < 50:
        fail(f"{folder} holds {len(answers)} digits only", "give at least 50, better thousands")
    return digits, answers, kind
