"""What handlers compute with arrays outside the model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Floats = NDArray[np.floating[Any]]


def softmax(scores: Floats) -> NDArray[np.float64]:
    """Turn scores [N, C, …] into probabilities over axis 1; large scores do not overflow."""
    powers: NDArray[np.float64] = np.exp(_below_zero(scores))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def log_softmax(scores: Floats) -> NDArray[np.float64]:
    """Return the logarithms of `softmax`."""
    lower = _below_zero(scores)
    result: NDArray[np.float64] = lower - np.log(np.exp(lower).sum(axis=1, keepdims=True))
    return result


def _below_zero(scores: Floats) -> NDArray[np.float64]:
    wide = scores.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    return wide


def all_finite(outputs: Any) -> bool:
    """Tell whether no array in a model's outputs holds NaN or infinite values."""
    if isinstance(outputs, dict):
        return all(map(all_finite, outputs.values()))
    if isinstance(outputs, (list, tuple)):
        return all(map(all_finite, outputs))
    return bool(np.isfinite(outputs).all())
