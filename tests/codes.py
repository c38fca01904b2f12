"""Errors in tests are known by their codes, not by their words."""

from __future__ import annotations

from collections.abc import Callable


def coded(code: str) -> Callable[[BaseException], bool]:
    """Return a check for `pytest.raises`: whether an error has this code."""
    return lambda error: getattr(error, "code", None) == code
