"""Answers of handlers as tensors: one column per key, with a row for each answer; no IO."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from marsmith.answers.messages import Response
from marsmith.gateway.kserve_answers import json_of
from marsmith.gateway.oip_tensors import BYTES, DTYPES, Tensor

_OUTPUT = "output"  # the name of answers that are no JSON objects
_INT64 = range(-(1 << 63), 1 << 63)


def outputs_of(answers: Sequence[Response]) -> list[Tensor]:
    """Return the outputs of a request: one for each key that all answers have, or one for all.

    Numbers, truth values and text keep their types, also in lists of one shape. Other values are
    BYTES with JSON, and answers that are no JSON are BYTES as they are.
    """
    rows = [_value(answer) for answer in answers]
    keys = rows[0].keys() if isinstance(rows[0], dict) else ()
    if keys and all(isinstance(row, dict) and row.keys() == keys for row in rows):
        return [_column(key, [row[key] for row in rows]) for key in keys]
    return [_column(_OUTPUT, rows)]


def _value(answer: Response) -> Any:
    try:
        return json_of(answer)
    except ValueError:
        return answer.body


def _column(name: str, values: list[Any]) -> Tensor:
    flat, shape = _rectangle(values)
    types = set(map(type, flat))
    datatype = _datatype(types, flat)
    if datatype != BYTES:
        return Tensor(name, datatype, shape, np.array(flat, DTYPES[datatype]).reshape(shape))
    if types <= {str, bytes}:
        return Tensor(name, BYTES, shape, [_bytes(value) for value in flat])
    return Tensor(name, BYTES, (len(values),), [_bytes_or_json(value) for value in values])


def _datatype(types: set[type], flat: list[Any]) -> str:
    if types == {bool}:
        return "BOOL"
    if types == {int} and min(flat) in _INT64 and max(flat) in _INT64:
        return "INT64"
    if float in types and types <= {int, float} and max(map(abs, flat)) < 1 << 64:
        return "FP64"
    return BYTES


def _rectangle(values: list[Any]) -> tuple[list[Any], tuple[int, ...]]:
    """Return what lists of one shape hold, and that shape with their number before it."""
    flat, shape = values, [len(values)]
    while set(map(type, flat)) == {list} and len(lengths := set(map(len, flat))) == 1:
        (length,) = lengths
        if not length:
            break
        flat = list(chain.from_iterable(flat))
        shape.append(length)
    return flat, tuple(shape)


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _bytes_or_json(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()
