"""What exceptions of load_state_dict say, read back as torch writes them."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from marsmith.weights.state_dict_differences import Differences, differences_in


def model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def differences(**changed: torch.Tensor | None) -> Differences:
    state = dict(model().state_dict())
    for name, value in changed.items():
        key = name.replace("_", ".", 1)
        state.pop(key, None)
        if value is not None:
            state[key] = value
    with pytest.raises(RuntimeError) as caught:
        model().load_state_dict(state)
    found = differences_in(str(caught.value))
    assert found
    return found


@pytest.mark.parametrize(
    ("changed", "named", "kind"),
    [
        ({"3_bias": None}, ["3.bias"], "extended"),
        ({"9_bias": torch.ones(1)}, ["9.bias"], "larger-model"),
        (
            {"9_num_batches_tracked": torch.ones(())},
            ["9.num_batches_tracked"],
            "statistics",
        ),
        (
            {"0_weight": torch.ones(4, 1, 3, 3)},
            ["0.weight", "4 x 1 x 3 x 3", "4 x 3 x 3 x 3"],
            "channels",
        ),
        (
            {"3_weight": torch.ones(7, 4), "3_bias": torch.ones(7)},
            ["3.weight", "7 x 4", "2 x 4", "3.bias", "7", "2"],
            "classes",
        ),
        ({"3_weight": torch.ones(4, 2)}, ["3.weight", "4 x 2", "2 x 4"], "transposed"),
        ({"3_bias": None, "4_bias": torch.ones(2)}, ["3.bias", "4.bias"], "architecture"),
    ],
)
def test_the_cause_is_told(
    changed: dict[str, torch.Tensor | None], named: list[str], kind: str
) -> None:
    found = differences(**changed)
    assert re.search(".*".join(rf"\b{re.escape(one)}\b" for one in named), found.short)
    assert found.cause().kind == kind


def test_numbers_of_classes_and_channels_are_told() -> None:
    classes = differences(**{"3_weight": torch.ones(7, 4), "3_bias": torch.ones(7)})
    assert re.findall(r"\d+", classes.cause().hint) == ["7", "2"]  # of the weights, of the model
    channels = differences(**{"0_weight": torch.ones(4, 1, 3, 3)})
    assert re.findall(r"\d+", channels.cause().hint) == ["1", "3"]


@pytest.mark.parametrize(
    ("missing", "unexpected", "options"),
    [
        (
            ["a.weight"],
            ["module.a.weight", "module.b.num_batches_tracked"],
            "--strip-prefix module",
        ),
        (["fc.bias"], ["model.net.fc.bias", "criterion.weight"], "--strip-prefix model.net"),
        (["net.a", "net.b"], ["a", "b"], "--add-prefix net"),
        (["backbone.conv1.weight"], ["conv1.weight", "fc.bias"], "--add-prefix backbone"),
        (["net.a.b"], ["model.a.b", "epoch.a"], "--strip-prefix model --add-prefix net"),
    ],
)
def test_a_prefix_is_replaced_by_a_command(
    missing: list[str], unexpected: list[str], options: str
) -> None:
    command = f"marsmith weights extract weights/a.tar {options} --out weights/a-state.pth"
    cause = Differences(missing, unexpected).cause("weights/a.tar")
    assert cause.kind == "prefix"
    assert command in cause.hint


@pytest.mark.parametrize(
    "unexpected",
    [["epoch", "state_dict"], ["model", "optimizer"], ["pytorch-lightning_version", "loops"]],
)
def test_a_training_checkpoint_is_called_that(unexpected: list[str]) -> None:
    cause = Differences(["fc.bias"], unexpected).cause("w.ckpt")
    assert cause.kind == "checkpoint"
    assert "marsmith weights extract w.ckpt --out " in cause.hint


def test_losses_beside_the_model_are_taken_out() -> None:
    found = Differences(unexpected=["criterion.weight", "val_acc.correct"])
    assert found.cause().kind == "training"
    assert "marsmith weights extract " in found.cause().hint
    assert Differences(unexpected=["decoder.weight"]).cause().kind == "larger-model"


def test_another_message_says_nothing() -> None:
    assert differences_in("RuntimeError: no luck") is None
