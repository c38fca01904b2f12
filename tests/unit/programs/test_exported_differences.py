"""marsmith/programs/exported_differences.py: how far an export is from eager, in numbers."""

from __future__ import annotations

import math

import pytest
import torch

from marsmith.programs.exported_differences import compare, noise
from marsmith.programs.exported_formats import ExportError


def test_random_inputs_are_of_one_and_of_a_whole_batch() -> None:
    small = noise(torch.zeros(1, 3, 4, 4), 8)
    assert sorted({len(one) for inputs in small.values() for one in inputs}) == [1, 8, 64]
    large = noise(torch.zeros(1, 3, 1024, 1024), 2)  # of which 64 would take a gigabyte
    assert sorted({len(one) for inputs in large.values() for one in inputs}) == [1, 2]
    again = noise(torch.zeros(1, 3, 4, 4), 8)
    assert all(
        torch.equal(one, other)
        for name in small
        for one, other in zip(small[name], again[name], strict=True)
    )


def test_the_largest_difference_is_told_beside_the_largest_value() -> None:
    inputs = [torch.tensor([[1.0, 4.0]]), torch.tensor([[0.5, 0.25]])]
    found = compare(torch.nn.Identity(), lambda x: x + 0.5, inputs, tolerance=1e-4)
    assert (found["absolute"], found["relative"], found["left_out"]) == (0.5, 0.5, 0)
    larger = compare(torch.nn.Identity(), lambda x: x + 0.5, inputs[:1], tolerance=1e-4)
    assert larger["relative"] == 0.125


def test_no_number_is_as_far_as_can_be() -> None:
    found = compare(torch.nn.Identity(), lambda x: x * math.nan, [torch.ones(1, 2)], 1e-4)
    assert found["absolute"] == math.inf


class Unsure(torch.nn.Module):
    """Says something else in float64, as an instance norm of a plain picture does."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values + (1.0 if values.dtype is torch.float64 else 0.0)


def test_inputs_that_eager_is_not_sure_of_are_left_out() -> None:
    found = compare(Unsure(), lambda x: x + 0.5, [torch.ones(1, 2)], 1e-4)
    assert (found["left_out"], found["absolute"]) == (1, 0)
    found = compare(Unsure(), lambda x: x + 50, [torch.ones(1, 2)], 1e-4)
    assert (found["left_out"], found["absolute"]) == (0, 50)


def test_another_shape_is_no_distance() -> None:
    with pytest.raises(ExportError):
        compare(torch.nn.Identity(), lambda x: x[:, :1], [torch.ones(1, 2)], 1e-4)
