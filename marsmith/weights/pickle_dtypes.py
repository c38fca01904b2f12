"""NumPy's types in a pickle: one that lies about its fields lets NumPy take bytes for pointers.

A pickled dtype says by itself whether it holds Python objects (its `flags`). NumPy believes it, and
follows whatever stands in an array's bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from marsmith.weights.pickle_stand_ins import Inert

_NAME = re.compile(r"numpy\.(dtype|dtypes\.\w+)")
_KIND = re.compile(r"[|<>=]?[?a-zA-Z]\d*")
_NEWEST = (8, 9)  # values of a state, in the versions that NumPy writes
_FIELD_NAMES, _FIELDS = 3, 4


def is_dtype(value: Any) -> bool:
    """Whether a value stands for a class of NumPy's types, or for one of them."""
    return isinstance(value, Inert) and _NAME.fullmatch(value.name) is not None


def is_odd_state(arguments: Any, state: Any) -> bool:
    """Whether the state of a type, made with these arguments, may hide Python objects.

    Types without fields, and fields of plain types, cannot.
    """
    kind = arguments[0] if isinstance(arguments, tuple) and arguments else None
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        return True
    if not isinstance(state, tuple) or len(state) not in _NEWEST:
        return True
    names, fields = state[_FIELD_NAMES], state[_FIELDS]
    if fields is None:
        return not all(map(_is_plain, _leaves(state[2])))
    if not isinstance(names, tuple) or not isinstance(fields, dict) or {*names} != fields.keys():
        return True
    return not all(map(_is_plain, _leaves((state[2], tuple(fields.values())))))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for one in value:
            yield from _leaves(one)
    else:
        yield value


def _is_plain(value: Any) -> bool:
    """Whether a value is a number, a text, or a type without objects."""
    if not isinstance(value, Inert):
        return value is None or isinstance(value, (int, str))
    arguments = getattr(value, "arguments", None)
    kind = arguments[0] if isinstance(arguments, tuple) and arguments else None
    return is_dtype(value) and isinstance(kind, str) and "O" not in kind
