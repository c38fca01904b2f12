"""What a GPU's batches go through; the GPU itself is asked in tests/gpu."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from marsmith_handlers.cuda_engine import halving, joined, padded_batch

ROWS = torch.arange(14, dtype=torch.float32).reshape(7, 2)


def fits(largest: int, calls: list[int]) -> Any:
    def compute(batch: Any) -> Any:
        calls.append(len(batch))
        if len(batch) > largest:
            raise torch.OutOfMemoryError
        return {"sum": batch.sum(1), "both": (batch, batch + 1)}

    return compute


def test_a_batch_that_does_not_fit_is_computed_in_parts() -> None:
    calls: list[int] = []
    found = halving(fits(2, calls), ROWS)
    assert calls == [7, 3, 1, 2, 4, 2, 2]
    assert torch.equal(found["sum"], ROWS.sum(1))
    assert torch.equal(found["both"][0], ROWS)
    assert torch.equal(found["both"][1], ROWS + 1)


def test_one_that_fits_is_computed_once() -> None:
    calls: list[int] = []
    halving(fits(7, calls), ROWS)
    assert calls == [7]


def test_one_row_that_does_not_fit_fails() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        halving(fits(0, []), ROWS)


def test_other_errors_are_not_tried_again() -> None:
    calls: list[int] = []

    def compute(batch: Any) -> Any:
        calls.append(len(batch))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        halving(compute, ROWS)
    assert calls == [7]


def test_lists_of_pictures_are_halved_too() -> None:
    def compute(pictures: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        if len(pictures) > 2:
            raise torch.OutOfMemoryError
        return [{"boxes": picture} for picture in pictures]

    pictures = [torch.full((3, side, 4), side) for side in range(1, 6)]
    found = halving(compute, pictures)
    assert [one["boxes"].shape[1] for one in found] == [1, 2, 3, 4, 5]


def test_several_outputs_of_a_batch_stay_several() -> None:
    first, second = joined([(ROWS[:3], ROWS[:3, 0]), (ROWS[3:], ROWS[3:, 0])], rows=False)
    assert torch.equal(first, ROWS)
    assert torch.equal(second, ROWS[:, 0])


@pytest.mark.parametrize(("count", "size"), [(1, 1), (2, 2), (3, 4), (5, 8), (8, 8), (9, 16)])
def test_batches_are_padded_to_powers_of_two(count: int, size: int) -> None:
    batch = torch.rand(count, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    padded = padded_batch(batch)
    assert len(padded) == size
    assert torch.equal(padded[:count], batch)
    assert torch.equal(padded[count:], batch[-1:].expand(size - count, -1, -1, -1))
    assert padded.is_contiguous(memory_format=torch.channels_last)
