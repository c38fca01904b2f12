from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from marsmith.core.errors import WeightsError
from marsmith.init.read_weights import Weights, read_weights

NET = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
STATE = NET.state_dict()
SHAPES = {name: tuple(one.shape) for name, one in STATE.items() if "tracked" not in name}


def read(path: Path, value: Any, **options: Any) -> Weights:
    torch.save(value, path / "in.pth", **options)
    return read_weights(path / "in.pth")


@pytest.mark.parametrize(
    "value",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3, "optimizer": {"state": {}}},
        {"state_dict": {f"module.{name}": one for name, one in STATE.items()}},
        {"model": {f"_orig_mod.module.{name}": one for name, one in STATE.items()}},
        NET,
    ],
)
def test_the_models_tensors_come_without_wrappers(tmp_path: Path, value: Any) -> None:
    assert read(tmp_path, value).shapes == SHAPES


def test_files_of_old_and_safetensors_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, STATE, _use_new_zipfile_serialization=False).shapes == SHAPES
    save_file(STATE, tmp_path / "in.safetensors")
    assert read_weights(tmp_path / "in.safetensors").shapes == SHAPES


@pytest.mark.parametrize(
    "facts",
    [
        {"classes": ["a", "b"]},
        {"class_to_idx": {"b": 1, "a": 0}},
        {"hyper_parameters": {"idx_to_class": {1: "b", 0: "a"}}},
        {"names": {0: "a", 1: "b"}},
    ],
)
def test_class_names_are_found(tmp_path: Path, facts: dict[str, Any]) -> None:
    assert read(tmp_path, {"state_dict": STATE, **facts}).classes == ("a", "b")


@pytest.mark.parametrize("facts", [{"classes": 3}, {"class_to_idx": {"a": 1}}, {"names": [1, 2]}])
def test_other_values_are_no_class_names(tmp_path: Path, facts: dict[str, Any]) -> None:
    assert read(tmp_path, {"state_dict": STATE, **facts}).classes == ()


def test_the_architecture_that_a_checkpoint_names(tmp_path: Path) -> None:
    assert read(tmp_path, {"state_dict": STATE, "arch": "resnet18"}).architecture == "resnet18"
    assert read(tmp_path, STATE).architecture == ""


def test_of_several_state_dicts_one_must_be_chosen(tmp_path: Path) -> None:
    with pytest.raises(WeightsError):
        read(tmp_path, {"state_dict": STATE, "state_dict_ema": STATE})
    assert read_weights(tmp_path / "in.pth", "state_dict_ema").shapes == SHAPES


class Attack:
    def __reduce__(self) -> Any:
        import os

        return os.system, ("true",)


def test_files_that_attack_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as error:
        read(tmp_path, {"state_dict": STATE, "more": Attack()})
    assert error.value.code == "hostile-weights"


def test_torchscript_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(NET), tmp_path / "in.pt")
    with pytest.raises(WeightsError) as error:
        read_weights(tmp_path / "in.pt")
    assert error.value.code == "torchscript-weights"
