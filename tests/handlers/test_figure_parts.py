"""The parts that isolate_figure is made of: frames, ground, contrast, arrays."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "handlers"))

from figure_arrays import Box, bounds, quantile, widen
from figure_contrast import contrast_of
from figure_framed import framed
from figure_frames import frame_width, inside
from figure_ground import find_ground, terms


def test_widen_is_the_greatest_of_nine() -> None:
    values = np.random.default_rng(0).integers(0, 256, (17, 23)).astype(np.uint8)
    wide = np.asarray(Image.fromarray(values).filter(ImageFilter.MaxFilter(3)))
    assert np.array_equal(widen(values.astype(np.float32)), wide)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.25, 25), (0.99, 99)])
def test_quantile(share: float, expected: float) -> None:
    values = np.random.default_rng(0).permutation(100).astype(np.float32)
    assert quantile(values.reshape(10, 10), share) == expected


def test_bounds_of_a_mask() -> None:
    mask = np.zeros((9, 12), dtype=bool)
    mask[2:5, 3], mask[4, 3:8] = True, True
    assert bounds(mask) == Box(3, 2, 8, 5)


@pytest.mark.parametrize("side", [28, 280])
def test_a_corner_that_is_grey_is_no_frame_of_mnist(side: int) -> None:
    digit = Image.new("L", (side, side))
    box = (side * 0.45, side * 0.15, side * 0.55, side * 0.85)
    ImageDraw.Draw(digit).rectangle(box, fill=255)
    found = framed(digit, 28)
    assert found is not None
    assert found.size == (28, 28)
    digit.putpixel((0, 0), 128)
    assert framed(digit, 28) is None


def test_an_even_ground_is_one_colour() -> None:
    planes = np.full((3, 46, 46), 0.8, np.float32)
    planes[:, 10:30, 20:24] = np.array([0.1, 0.5, 0.8], np.float32)[:, None, None]
    ground = find_ground(planes)
    assert ground.fit[:, 0] == pytest.approx([0.8, 0.8, 0.8])
    assert not ground.fit[:, 1:].any()
    along = ground.along(planes)
    assert along[0, 0] == pytest.approx(0, abs=1e-6)
    assert along[20, 22] == pytest.approx(np.hypot(0.7, 0.3), abs=1e-5)


def test_light_that_falls_off_is_ground() -> None:
    surface = np.float32(0.6) + np.float32(0.2) * terms(46, 46)[1]
    planes = surface[None].copy()
    planes[:, 10:30, 20:24] -= 0.3
    ground = find_ground(planes)
    along = ground.along(planes)
    assert np.abs(along[[0, -1]]).max() < 0.01
    assert along[20, 22] == pytest.approx(0.3, abs=0.01)


def test_rules_are_taken_out_and_strokes_stay() -> None:
    page = Image.new("L", (92, 92), 255)
    pen = ImageDraw.Draw(page)
    for top in (10, 40, 70):
        pen.line((0, top, 91, top), 120)
    pen.line((46, 20, 46, 80), 0, 4)
    contrast = contrast_of(page, (2, 2))
    assert contrast[10, 5:40].max() < 0.05
    assert contrast[55, 46] > 0.8


@pytest.mark.parametrize("width", [1, 2, 4])
def test_width_of_a_frame(width: int) -> None:
    page = Image.new("RGB", (92, 92), "white")
    ImageDraw.Draw(page).rectangle((0, 0, 91, 91), outline="navy", width=width)
    assert width <= frame_width(page) <= width + 1  # its soft inner edge goes with it
    assert frame_width(Image.new("RGB", (92, 92), "white")) == 0


def test_what_lies_within_a_card() -> None:
    card = np.zeros((92, 92), dtype=bool)
    card[10:80, 15:85] = True
    card[30:60, 40:50] = False  # the figure on it
    found = inside(card, bounds(card))
    assert found is not None
    assert found.left > 15
    assert found.bottom < 80
    stroke = np.zeros((92, 92), dtype=bool)
    stroke[10:80, 40:46] = True
    assert inside(stroke, bounds(stroke)) is None
