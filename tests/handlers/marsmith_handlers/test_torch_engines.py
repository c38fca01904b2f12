"""What PyTorch returns comes back as arrays in the same structure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from marsmith_handlers.torch_engines import TorchEngine, in_half


class Structured(torch.nn.Module):
    """A network that returns all that a detector or segmenter might."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 2, 1)

    def forward(self, images: torch.Tensor) -> Any:
        out = self.layer(images)
        return {"out": out, "parts": [{"labels": out.argmax(1)}, (out.half(), 7)]}


@pytest.mark.parametrize("bfloat16", [False, True])
def test_structures_are_kept(bfloat16: bool) -> None:
    torch.manual_seed(0)
    network: torch.nn.Module = Structured().eval()
    batch = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)
    expected = TorchEngine(network, channels_last=True)(batch)
    network = in_half(network, "bfloat16") if bfloat16 else network
    found = TorchEngine(network, channels_last=True)(batch)
    assert found["out"].dtype == np.float32
    assert np.allclose(found["out"], expected["out"], atol=0.02 if bfloat16 else 0)
    first, (half, number) = found["parts"]
    assert first["labels"].dtype == np.int64
    assert (half.dtype, number) == (np.float32, 7)


def test_the_layout_is_the_networks_and_arrays_are_shared() -> None:
    seen: list[Any] = []

    def network(given: Any) -> torch.Tensor:
        seen.append(given)
        return torch.zeros(1)

    pictures = [np.full((3, 4, 5), n, np.float32) for n in range(2)]
    for last in (True, False):
        engine = TorchEngine(network, channels_last=last)
        batch = engine.stack(pictures)
        engine(batch)
        layout = torch.channels_last if last else torch.contiguous_format
        assert seen[-1].is_contiguous(memory_format=layout)
        assert np.shares_memory(seen[-1].numpy(), batch)  # nothing is copied on the way
        assert np.array_equal(seen[-1].numpy(), np.stack(pictures))
    engine(pictures)
    assert [tuple(one.shape) for one in seen[-1]] == [(3, 4, 5)] * 2


def test_a_view_that_runs_backwards_is_taken() -> None:
    engine = TorchEngine(lambda batch: batch, channels_last=True)
    batch = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)[..., ::-1]
    assert np.array_equal(engine(batch), batch)
