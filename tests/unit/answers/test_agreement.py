"""What two answers must share to say the same."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from PIL import Image

from marsmith.answers.agreement import agreement


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def of(first: Any, second: Any) -> bool:
    found = agreement([(json.dumps(first).encode(), json.dumps(second).encode())], 0.01)
    assert found.total == 1
    return found.same == 1


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"label": "7", "confidence": 0.9}, {"label": "7", "confidence": 0.6}, True),
        ({"label": "7", "confidence": 0.9}, {"label": "1", "confidence": 0.9}, False),
        ({"model_degree": 90, "success": True}, {"model_degree": 90, "success": False}, True),
        ({"model_degree": 90}, {"model_degree": 180}, False),
        ({"cat": 0.6, "dog": 0.4}, {"dog": 0.3, "cat": 0.7}, True),
        ({"cat": 0.6, "dog": 0.4}, {"cat": 0.4, "dog": 0.6}, False),
        ([0.1, 0.7, 0.2], [0.3, 0.4, 0.3], True),
        ([0.1, 0.7, 0.2], [0.5, 0.4, 0.1], False),
        ([0.1, 0.7], [0.1, 0.7, 0.0], True),
        ("word", "other", False),
    ],
)
def test_what_is_decided_counts_and_not_how_surely(first: Any, second: Any, same: bool) -> None:
    assert of(first, second) is same


def test_numbers_are_measured() -> None:
    pairs = [(b'{"a": 0.5, "b": "x"}', b'{"a": 0.75, "b": "x"}'), (b"[0.1, 0.5]", b"[0.1, 0.5]")]
    found = agreement(pairs, 0.0)
    assert (found.same, found.total, found.share) == (2, 2, 1.0)
    assert found.largest == 0.25
    assert found.mean == pytest.approx(0.25 / 3)


def test_pictures_agree_within_a_tolerance() -> None:
    shades = [
        Image.linear_gradient("L").point([level // 2 + by for level in range(256)])
        for by in (0, 2, 50)
    ]
    bodies = [encoded(one) for one in shades]
    found = agreement([(bodies[0], bodies[1]), (bodies[0], bodies[2])], 0.01)
    assert (found.same, found.total) == (1, 2)
    assert found.largest == pytest.approx(50 / 255)


def test_data_agree_within_a_share_of_their_pixels() -> None:
    masks = [Image.new("L", (10, 10), 1) for _ in range(3)]
    masks[1].putpixel((3, 4), 2)
    masks[2].paste(2, (0, 0, 10, 5))
    bodies = [encoded(one) for one in masks]
    found = agreement([(bodies[0], bodies[1]), (bodies[0], bodies[2])], 0.01)
    assert (found.same, found.total) == (1, 2)
    assert found.largest == pytest.approx(0.5)


def test_nothing_agrees_with_nothing() -> None:
    assert agreement([], 0.1).share == 0.0
    assert agreement([(b"text\n", b"text")], 0.1).share == 1.0
