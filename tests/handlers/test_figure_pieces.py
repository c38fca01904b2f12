"""What pieces_of finds, beside what scikit-image finds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from skimage.measure import label, regionprops

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "handlers"))

from figure_pieces import pieces_of


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.45, 0.6, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (17, 40), (64, 64)])
def test_pieces_are_those_of_scikit_image(shape: tuple[int, int], share: float) -> None:
    rng = np.random.default_rng(5)
    mask = rng.random(shape) < share
    weight = rng.random(shape).astype(np.float32)
    found = pieces_of(mask, weight)
    named = label(mask, connectivity=2)  # type: ignore[no-untyped-call]
    regions = regionprops(named)  # type: ignore[no-untyped-call]
    boxes = [(*low, *high) for low, high in zip(found.low, found.high, strict=True)]
    assert sorted(boxes) == sorted(region.bbox for region in regions)
    for number, box in enumerate(boxes):
        own = found.mask(np.arange(len(boxes)) == number)
        assert own[box[0] : box[2], box[1] : box[3]].sum() == own.sum()
        assert found.mass[number] == pytest.approx(float(weight[own].sum()), rel=1e-3)
    assert np.array_equal(found.mask(np.ones(len(boxes), dtype=bool)), mask)


def test_a_spiral_is_one_piece() -> None:
    turns = np.linspace(0, 40, 20_000)
    mask = np.zeros((90, 90), dtype=bool)
    mask[(45 + turns * np.sin(turns)).astype(int), (45 + turns * np.cos(turns)).astype(int)] = True
    assert len(pieces_of(mask, mask).mass) == 1
