"""Probabilities in NumPy are PyTorch's, and large scores do not overflow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from marsmith_handlers.arrays import all_finite, log_softmax, softmax


@pytest.mark.parametrize("shape", [(3, 10), (2, 4, 5, 6)])
@pytest.mark.parametrize("scale", [1, 1e4, 1e30])
def test_softmax_is_pytorchs(shape: tuple[int, ...], scale: float) -> None:
    scores = (np.random.default_rng(0).normal(size=shape) * scale).astype(np.float32)
    wide = torch.from_numpy(scores).double()
    assert np.allclose(softmax(scores), wide.softmax(dim=1).numpy(), atol=1e-12)
    assert np.allclose(log_softmax(scores), wide.log_softmax(dim=1).numpy(), rtol=1e-12)


def test_outputs_of_any_structure_are_looked_through() -> None:
    good, bad = np.ones(3, np.float32), np.array([1, np.inf], np.float32)
    assert all_finite({"out": [good, (good, np.arange(3))], "empty": np.zeros((0, 4))})
    assert not all_finite([{"boxes": good}, {"boxes": bad}])
