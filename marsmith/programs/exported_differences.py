"""How far an exported model is from eager PyTorch, on samples and on random inputs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch

from marsmith.programs.exported_formats import ExportError

Model = Callable[[torch.Tensor], torch.Tensor]
Distance = dict[str, float]
_LARGEST_BATCH = 64  # of the image handlers; a KServe request may hold so many pictures
_MOST_VALUES = 1 << 22  # of a batch of random inputs


def noise(example: torch.Tensor, batch: int) -> dict[str, list[torch.Tensor]]:
    """Return random inputs: one, `batch`, and of small ones as many as a request may hold."""
    torch.manual_seed(0)
    tests = {}
    most = min(_LARGEST_BATCH, _MOST_VALUES // example[0].numel())
    for count in sorted({1, batch, max(batch, most)}):
        one = torch.randn(count, *example.shape[1:])
        # Light, dark, empty, loud, quiet: inputs on both sides of what a model may decide by.
        ways = [one, one.abs(), -one.abs(), torch.zeros_like(one), 10 * one, 0.01 * one]
        tests[f"random, batch {count}"] = ways
    return tests


def compare(
    eager: torch.nn.Module, exported: Model, inputs: list[torch.Tensor], tolerance: float
) -> Distance:
    """Return the largest difference to eager, "absolute" and "relative" to the output.

    Relative means to the largest value of the same output, at least 1. "left_out" is how many
    inputs are not counted, because eager itself is not sure of them (instance norm of a plain
    picture blows up its rounding): a tenth of the difference is its own distance to float64.
    """
    worst = {"absolute": 0.0, "relative": 0.0, "left_out": 0.0}
    with torch.inference_mode():
        for tensor in inputs:
            expected = eager(tensor)
            distance, scale = _distance(expected, exported(tensor))
            if distance > tolerance * scale:
                exact = copy.deepcopy(eager).double()(tensor.double())
                if distance <= 10 * _distance(expected, exact)[0]:
                    worst["left_out"] += 1
                    continue
            worst["absolute"] = max(worst["absolute"], distance)
            worst["relative"] = max(worst["relative"], distance / scale)
    return worst


def _distance(expected: torch.Tensor, actual: torch.Tensor) -> tuple[float, float]:
    """Return the largest difference of two outputs, and the largest value, at least 1."""
    if expected.shape != actual.shape:
        raise ExportError(
            f"the output is {tuple(actual.shape)}, eager's is {tuple(expected.shape)}",
            "the model's shapes depend on more than its input's: try another format",
        )
    distance = float((expected.double() - actual.double()).abs().max())
    scale = max(1.0, float(expected.double().abs().max()))
    return (math.inf if math.isnan(distance) else distance), scale
