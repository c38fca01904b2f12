"""A batch in parts: by shape, by size, and one by one after a failure."""

from __future__ import annotations

from typing import Any

import numpy as np
from marsmith_handlers.arrays import Array
from marsmith_handlers.batch_parts import in_parts


def arrays(*sides: int) -> list[Array]:
    return [np.full((1, side, side), place, np.float32) for place, side in enumerate(sides)]


def test_each_shape_is_answered_together_and_in_order() -> None:
    calls: list[list[int]] = []

    def answers(part: list[Array], names: list[str]) -> list[Any]:
        calls.append([int(one[0, 0, 0]) for one in part])
        return [name * 2 for name in names]

    assert in_parts(arrays(4, 8, 4, 8), list("abcd"), answers) == ["aa", "bb", "cc", "dd"]
    assert calls == [[0, 2], [1, 3]]


def test_large_pictures_go_through_in_parts() -> None:
    sizes: list[int] = []

    def answers(part: list[Array], _: list[None]) -> list[Any]:
        sizes.append(len(part))
        return part

    in_parts(arrays(1024, 1024, 1024, 1024, 1024), [None] * 5, answers)
    assert sizes == [4, 1]


def test_after_a_failure_each_is_tried_alone() -> None:
    def answers(_: list[Array], names: list[str]) -> list[Any]:
        if "b" in names:
            raise ValueError("b")
        return names

    first, second, third = in_parts(arrays(4, 4, 4), ["a", "b", "c"], answers)
    assert (first, third) == ("a", "c")
    assert isinstance(second, ValueError)
