"""Templates of answers: text or JSON values with placeholders such as ${label}; no IO.

A placeholder names a value by keys and positions: ${top.0.label}. ${} is the whole answer, and $$ a
dollar. Text that is one placeholder becomes the value itself: "${index}" a number. Nothing is
evaluated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_PLACEHOLDER = re.compile(r"\$(?:\{([^${}]*)\}|\$)")


def filled(template: Any, values: Any) -> Any:
    """Return a template with its placeholders replaced. Raises LookupError for an unknown one."""
    if isinstance(template, dict):
        return {key: filled(one, values) for key, one in template.items()}
    if isinstance(template, list):
        return [filled(one, values) for one in template]
    if not isinstance(template, str):
        return template
    if (only := _PLACEHOLDER.fullmatch(template)) and only[1] is not None:
        return _value(values, only[1])
    return _PLACEHOLDER.sub(lambda found: _replaced(found, values), template)


def placeholders(template: Any) -> Iterator[str]:
    """Yield what the placeholders of a template name."""
    if isinstance(template, str):
        yield from (one[1] for one in _PLACEHOLDER.finditer(template) if one[1] is not None)
    inner = template.values() if isinstance(template, dict) else template
    for one in inner if isinstance(template, (dict, list)) else ():
        yield from placeholders(one)


def as_text(value: Any) -> str:
    """Return a text as it is, and any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _replaced(found: re.Match[str], values: Any) -> str:
    return "$" if found[1] is None else as_text(_value(values, found[1]))


def _value(values: Any, path: str) -> Any:
    for part in path.split(".") if path else ():
        if isinstance(values, dict):
            values = values[part]
        elif isinstance(values, list) and part.isdecimal():
            values = values[int(part)]
        else:
            raise LookupError(path)
    return values
