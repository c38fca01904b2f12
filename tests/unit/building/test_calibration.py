"""Photos are split once and for all, so that none judges what it has calibrated."""

from __future__ import annotations

from pathlib import Path

import pytest

from marsmith.building.calibration import MOST_CALIBRATING, MOST_HELD_OUT, split_photos
from marsmith.core.errors import BuildError
from tests.codes import coded


def folder(path: Path, count: int) -> Path:
    (path / "below").mkdir()
    for number in range(count):
        (path / ("below" if number % 2 else "") / f"{number:04}.jpg").touch()
    (path / "notes.txt").touch()
    return path


@pytest.mark.parametrize(
    ("count", "calibrating", "held_out"), [(2, 1, 1), (9, 4, 5), (600, 200, 300)]
)
def test_no_photo_is_on_both_sides(
    tmp_path: Path, count: int, calibrating: int, held_out: int
) -> None:
    photos = split_photos(folder(tmp_path, count))
    assert (len(photos.calibrating), len(photos.held_out)) == (calibrating, held_out)
    assert not set(photos.calibrating) & set(photos.held_out)
    assert photos == split_photos(tmp_path)
    assert len(photos.calibrating) <= MOST_CALIBRATING
    assert len(photos.held_out) <= MOST_HELD_OUT


def test_one_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(BuildError, check=coded("too-few-photos")):
        split_photos(folder(tmp_path, 1))
