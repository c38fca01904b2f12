"""The least and the largest number of workers of a model, as TorchServe takes them; no IO."""

from __future__ import annotations

MOST_WORKERS = 1000  # of a model; more is a slip, or an attack on the machine


def bounds_problem(least: int, most: int) -> str | None:
    """Return what is wrong with a minimum and a maximum number of workers; None if nothing is."""
    if least < 0:
        return f"the minimum of workers must be at least 0, not {least}"
    if least > most:
        return f"the minimum of workers ({least}) must not exceed the maximum ({most})"
    return None
