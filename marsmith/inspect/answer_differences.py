"""Compare two answers to the same request: numbers, pictures, texts; no IO."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from marsmith.answers.messages import Response
from marsmith.answers.pictures import (
    data_difference,
    is_data,
    measure_pictures,
    picture_kind,
)

_MOST = 20  # differences that are listed for one answer
_LONGEST = 60  # characters of a value
_BEFORE = 15  # characters that are shown before a difference


@dataclass(frozen=True)
class AnswerDifference:
    """How two answers differ. `others` lists differences that are not of numbers, with places.

    For JSON, `largest` is the largest difference of two numbers, at `place`. For pictures, `mean`
    and `largest` are differences of values 0…1.
    """

    others: tuple[str, ...] = ()
    largest: float | None = None
    place: str = ""
    mean: float | None = None


def answer_difference(first: Response, second: Response) -> AnswerDifference | None:
    """Return how two answers differ, or None if they do not."""
    if first.status != second.status:
        return AnswerDifference((f"status {_status(first)} → {_status(second)}",))
    kinds = (first.content_type, second.content_type)
    others = () if kinds[0] == kinds[1] else (f"content type {_changed(*kinds)}",)
    if first.body == second.body:
        return AnswerDifference(others) if others else None
    if picture_kind(first.body) and picture_kind(second.body):
        return _of_pictures(first.body, second.body, others)
    try:
        values = first.json(), second.json()
    except (ValueError, RecursionError):
        return AnswerDifference((*others, _changed(first.text, second.text)))
    return _of_values(*values, others)


def _status(answer: Response) -> str:
    return str(answer.status) if answer.ok else f"{answer.status} ({_short(answer.complaint)})"


def _of_pictures(first: bytes, second: bytes, others: tuple[str, ...]) -> AnswerDifference | None:
    if is_data(first):
        wrong = data_difference(first, second)
        return AnswerDifference((*others, wrong) if wrong else others) if wrong or others else None
    measured = measure_pictures(first, second)
    if isinstance(measured, str):
        return AnswerDifference((*others, measured))
    mean, largest = measured
    # Without a difference, the files have the same pixels and perhaps other metadata.
    return AnswerDifference(others, largest, "", mean) if largest or others else None


def _of_values(first: Any, second: Any, others: tuple[str, ...]) -> AnswerDifference | None:
    largest: float | None = None
    where, lines = "", list(others)
    for place, one, other in _different("", first, second):
        if (distance := _distance(one, other)) is not None:
            if largest is None or distance > largest:
                largest, where = distance, place
        else:
            lines.append((f"{place}: " if place else "") + _changed_value(one, other))
    if len(lines) > _MOST:
        lines[_MOST:] = [f"and {len(lines) - _MOST} more"]
    if largest is None and not lines:
        return None
    return AnswerDifference(tuple(lines), largest, where)


_ABSENT = object()


def _different(path: str, first: Any, second: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the path and both values of each difference."""
    if isinstance(first, dict) and isinstance(second, dict):
        for key in [*first, *(key for key in second if key not in first)]:
            pair = first.get(key, _ABSENT), second.get(key, _ABSENT)
            yield from _different(f"{path}.{key}" if path else str(key), *pair)
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for index, values in enumerate(zip(first, second, strict=True)):
            yield from _different(f"{path}[{index}]", *values)
    elif not _is_same(first, second):
        yield path, first, second


def _is_same(first: Any, second: Any) -> bool:
    if _is_number(first) and _is_number(second):
        return bool(first == second) or bool(first != first and second != second)  # NaN
    return type(first) is type(second) and bool(first == second)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _distance(first: Any, second: Any) -> float | None:
    """Return the distance of two numbers; None if they are not numbers, or not finite."""
    if not _is_number(first) or not _is_number(second):
        return None
    try:
        distance = abs(float(first) - float(second))
    except OverflowError:  # JSON's integers have no limit
        return None
    return distance if math.isfinite(distance) else None


def _changed_value(first: Any, second: Any) -> str:
    if first is _ABSENT or second is _ABSENT:
        word, value = ("added", second) if first is _ABSENT else ("missing", first)
        return f"{word} {_short(json.dumps(value, ensure_ascii=False))}"
    texts = [json.dumps(value, ensure_ascii=False) for value in (first, second)]
    return _changed(texts[0], texts[1])


def _changed(first: str, second: str) -> str:
    """Show two texts side by side, from shortly before their first difference."""
    first, second = (" ".join(text.split()) for text in (first, second))
    if first == second:
        return "other white space"
    pairs = enumerate(zip(first, second, strict=False))
    parted = next((place for place, (one, other) in pairs if one != other), None)
    start = max(0, (min(len(first), len(second)) if parted is None else parted) - _BEFORE)
    return " → ".join(_short(("…" if start else "") + text[start:]) for text in (first, second))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
