"""What a file of weights is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from marsmith.weights.checkpoint import read_checkpoint
from marsmith.weights.find_state_dict import training_checkpoint
from tests.codes import tells

STATE = {"w": torch.ones(2)}


@pytest.mark.parametrize(
    ("saved", "parts"),
    [
        (STATE, ()),
        ({"model": STATE}, ()),
        ({"model": STATE, "optimizer": {"state": {}, "param_groups": []}}, ("optimizer",)),
        ({"state_dict": STATE, "optimizer_states": [2]}, ("optimizer_states",)),
        ({"model": STATE, "scaler": {"scale": 2.0}}, ("scaler",)),
    ],
)
def test_a_training_checkpoint_is_told_by_what_lies_beside_the_model(
    saved: dict[str, Any], parts: tuple[str, ...], tmp_path: Path
) -> None:
    torch.save(saved, tmp_path / "in.pth")
    found = training_checkpoint(read_checkpoint(tmp_path / "in.pth"))
    assert tells(found, *parts) if parts else found == ""
