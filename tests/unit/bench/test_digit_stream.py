"""The digits that scripts/bench sends."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import digit_stream
from bench.failures import BenchError

COUNT = len(digit_stream.FRAMINGS)


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Take the digits from a folder of the test, which is not there yet."""
    folder = tmp_path / "digits"
    monkeypatch.setattr(digit_stream, "DIGITS", folder)
    digit_stream.labelled.cache_clear()
    yield folder
    digit_stream.labelled.cache_clear()


def write_idx(folder: Path, count: int) -> None:
    folder.mkdir()
    head = b"\0\0\x08"
    pixels = np.zeros((count, 28, 28), np.uint8)
    pixels[:, 4:24, 12:16] = 255
    pixels[:, 9, 9] = np.arange(count)
    sizes = b"".join(n.to_bytes(4, "big") for n in pixels.shape)
    images, labels = folder / "t-images-idx3-ubyte.gz", folder / "t-labels-idx1-ubyte.gz"
    images.write_bytes(gzip.compress(head + b"\3" + sizes + pixels.tobytes()))
    labels.write_bytes(gzip.compress(head + b"\1" + count.to_bytes(4, "big") + b"\1" * count))


def test_every_picture_is_another_one_of_its_content_type() -> None:
    sent = digit_stream.mixed_stream(COUNT)
    assert len({one.body for one in sent}) == COUNT
    sides = []
    for one in sent:
        with Image.open(io.BytesIO(one.body)) as image:
            assert image.get_format_mimetype() == one.content_type
            sides.append(max(image.size))
    assert min(sides) == 28
    assert 400 < max(sides) <= 1024


def test_the_digits_are_the_same_again() -> None:
    first, second = (digit_stream.framed_stream(5) for _ in range(2))
    assert [one.body for one in first] == [one.body for one in second]


def test_framed_digits_are_taken_from_idx_files(data: Path) -> None:
    write_idx(data, 60)
    sent = digit_stream.framed_stream(40)
    assert len({one.body for one in sent}) == 40
    with Image.open(io.BytesIO(sent[0].body)) as image:
        assert (image.size, image.mode) == ((28, 28), "L")
        assert np.asarray(image)[4:24, 13].min() == 255


def test_photos_are_sent_as_they_are(data: Path) -> None:
    data.mkdir()
    for number in range(3):
        Image.new("RGB", (9, 9), (number, 0, 0)).save(data / f"{number}.jpg")
    sent = digit_stream.mixed_stream(2)
    assert [one.body for one in sent] == [(data / f"{n}.jpg").read_bytes() for n in range(2)]


def test_too_few_photos_are_told(data: Path) -> None:
    data.mkdir()
    Image.new("RGB", (9, 9)).save(data / "one.png")
    with pytest.raises(BenchError):
        digit_stream.mixed_stream(2)
