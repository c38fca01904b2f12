"""A batch, answered in the parts that can go through a model together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from marsmith_handlers.arrays import Array

_PIXELS_AT_ONCE = 1 << 22  # more would take too much memory
T = TypeVar("T")
Answers = Callable[[list[Array], list[T]], list[Any]]


def in_parts(arrays: Sequence[Array], pictures: Sequence[T], answers: Answers[T]) -> list[Any]:
    """Return one answer per array [C, H, W], or the exception that it made the model raise.

    `answers` is called with arrays of one shape, and the pictures that they come from.
    """
    found: list[Any] = [None] * len(arrays)
    shapes: dict[tuple[int, ...], list[int]] = {}
    for place, array in enumerate(arrays):
        shapes.setdefault(array.shape, []).append(place)
    for shape, places in shapes.items():
        step = max(1, _PIXELS_AT_ONCE // (shape[-2] * shape[-1]))
        for start in range(0, len(places), step):
            part = places[start : start + step]
            solved = _each([arrays[i] for i in part], [pictures[i] for i in part], answers)
            for place, answer in zip(part, solved, strict=True):
                found[place] = answer
    return found


def _each(arrays: list[Array], pictures: list[T], answers: Answers[T]) -> list[Any]:
    try:
        return answers(arrays, pictures)
    except Exception as error:
        if len(arrays) == 1:
            return [error]
        # The model may fail on one of them; the others get their answers.
        pairs = zip(arrays, pictures, strict=True)
        return [_each([array], [picture], answers)[0] for array, picture in pairs]
