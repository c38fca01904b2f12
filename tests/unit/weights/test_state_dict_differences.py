"""What exceptions of load_state_dict say, read back as torch writes them."""

from __future__ import annotations

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
    ("changed", "short", "cause"),
    [
        ({"3_bias": None}, "missing 3.bias", "was extended"),
        ({"9_bias": torch.ones(1)}, "unexpected 9.bias", "larger model"),
        (
            {"9_num_batches_tracked": torch.ones(())},
            "unexpected 9.num_batches_tracked",
            "unused statistics",
        ),
        (
            {"0_weight": torch.ones(4, 1, 3, 3)},
            "0.weight is 4 x 1 x 3 x 3, the model's 4 x 3 x 3 x 3",
            "input channels: the weights have 1, the model 3",
        ),
        (
            {"3_weight": torch.ones(7, 4), "3_bias": torch.ones(7)},
            "3.weight is 7 x 4, the model's 2 x 4; 3.bias is 7, the model's 2",
            "classes: the weights have 7, the model 2",
        ),
        ({"3_weight": torch.ones(4, 2)}, "3.weight is 4 x 2, the model's 2 x 4", "transposed"),
        ({"3_bias": None, "4_bias": torch.ones(2)}, "missing 3.bias", "another architecture"),
    ],
)
def test_the_cause_is_told(changed: dict[str, torch.Tensor | None], short: str, cause: str) -> None:
    found = differences(**changed)
    assert found.short.startswith(short)
    assert cause in found.cause()


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
    assert command in Differences(missing, unexpected).cause("weights/a.tar")


@pytest.mark.parametrize(
    "unexpected",
    [["epoch", "state_dict"], ["model", "optimizer"], ["pytorch-lightning_version", "loops"]],
)
def test_a_training_checkpoint_is_called_that(unexpected: list[str]) -> None:
    cause = Differences(["fc.bias"], unexpected).cause("w.ckpt")
    assert cause.startswith("it is a training checkpoint: marsmith weights extract w.ckpt --out ")


def test_losses_beside_the_model_are_taken_out() -> None:
    found = Differences(unexpected=["criterion.weight", "val_acc.correct"])
    assert "weights extract" in found.cause()
    assert "weights extract" not in Differences(unexpected=["decoder.weight"]).cause()


def test_another_message_says_nothing() -> None:
    assert differences_in("RuntimeError: no luck") is None
