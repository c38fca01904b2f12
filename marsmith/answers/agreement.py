"""Whether two answers agree, and how far their numbers are apart; no IO.

Engines and dtypes round differently, so confidences differ. What counts is the decision.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from marsmith.answers.pictures import is_data, measure_data, measure_pictures, picture_kind


@dataclass(frozen=True)
class Agreement:
    """How many of all answers agree.

    `largest` and `mean` are differences of numbers, or of pictures' values 0…1; None without any.
    """

    same: int
    total: int
    largest: float | None = None
    mean: float | None = None

    @property
    def share(self) -> float:
        """The share of answers that agree."""
        return self.same / self.total if self.total else 0.0


def agreement(pairs: Iterable[tuple[bytes, bytes]], tolerance: float) -> Agreement:
    """Compare pairs of answers.

    JSON answers agree if their strings and integers are equal, and the maximum of each list or
    table of floats is at the same place (top-1). Pictures agree if they differ by at most
    `tolerance` on average, or in that share of their pixels if they are data.
    """
    found = [_compare(first, second, tolerance) for first, second in pairs]
    distances = [distance for _, many in found for distance in many]
    return Agreement(
        sum(same for same, _ in found),
        len(found),
        max(distances, default=None),
        sum(distances) / len(distances) if distances else None,
    )


def _compare(first: bytes, second: bytes, tolerance: float) -> tuple[bool, list[float]]:
    if picture_kind(first) and picture_kind(second):
        measure = measure_data if is_data(first) else measure_pictures
        measured = measure(first, second)
        if isinstance(measured, str):
            return False, []
        return measured[0] <= tolerance, [measured[0]]
    try:
        values = json.loads(first), json.loads(second)
    except (ValueError, RecursionError):
        return first.rstrip() == second.rstrip(), []
    numbers = [dict(_numbers("", value)) for value in values]
    distances = [
        abs(numbers[0][place] - numbers[1][place])
        for place in numbers[0].keys() & numbers[1].keys()
    ]
    return decided(values[0]) == decided(values[1]), distances


def decided(answer: Any) -> Any:
    """Return what an answer decides: its strings and integers, and the places of maxima."""
    if isinstance(answer, dict):
        if len(answer) > 1 and all(isinstance(value, float) for value in answer.values()):
            return max(answer, key=answer.__getitem__)
        return {key: decided(value) for key, value in answer.items()}
    if isinstance(answer, list):
        if len(answer) > 1 and all(isinstance(value, float) for value in answer):
            return answer.index(max(answer))
        return [decided(value) for value in answer]
    # A boolean follows from a number and its limit.
    return None if isinstance(answer, (float, bool)) else answer


def _numbers(place: str, answer: Any) -> Iterator[tuple[str, float]]:
    if isinstance(answer, float):
        yield place, answer
    elif isinstance(answer, (dict, list)):
        pairs = answer.items() if isinstance(answer, dict) else enumerate(answer)
        for key, value in pairs:
            yield from _numbers(f"{place}/{key}", value)
