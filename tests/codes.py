"""Compare errors by their codes: `pytest.raises(WeightsError, check=coded("weights-empty"))`."""

from __future__ import annotations

from collections.abc import Callable


def coded(code: str) -> Callable[[BaseException], bool]:
    """Return a check for pytest.raises: the error has this code, and a hint."""
    return lambda error: getattr(error, "code", None) == code and bool(getattr(error, "hint", ""))
