"""Compare errors by their codes: `pytest.raises(WeightsError, check=coded("weights-empty"))`."""

from __future__ import annotations

from collections.abc import Callable

from marsmith.core.errors import MarsmithError


def coded(code: str) -> Callable[[MarsmithError], bool]:
    """Return a check for pytest.raises: the error has this code, and a hint."""
    return lambda error: error.code == code and bool(error.hint)
