"""Compare errors by their codes: `pytest.raises(WeightsError, check=coded("weights-empty"))`."""

from __future__ import annotations

import re
from collections.abc import Callable


def coded(code: str) -> Callable[[BaseException], bool]:
    """Return a check for pytest.raises: the error has this code, and a hint."""
    return lambda error: getattr(error, "code", None) == code and bool(getattr(error, "hint", ""))


def tells(text: str | None, *values: object) -> bool:
    """Whether a text names these values in this order, whatever its words are.

    A value is what a test knows: a number, a name, a path, a command, a user's own words.
    """
    wanted = (rf"(?<!\w){re.escape(str(value))}(?!\w)" for value in values)
    return text is not None and bool(re.search(".*?".join(wanted), text, re.DOTALL))
