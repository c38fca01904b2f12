from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from marsmith.core.errors import ProjectError, WeightsError
from marsmith.init.start import Recognised, prove, recognise
from tests.codes import tells
from tests.unit.init.networks import timm_model, torchvision_model

pytestmark = pytest.mark.processes


def saved(path: Path, model: nn.Module, **more: Any) -> Recognised:
    state = {f"module.{name}": one for name, one in model.state_dict().items()}
    torch.save({"state_dict": state, **more}, path / "in.pth")
    return recognise(path / "in.pth")


def squeezenet(classes: int) -> nn.Module:
    model: nn.Module = torchvision_model("squeezenet1_1", num_classes=classes)
    return model


def test_a_checkpoint_becomes_a_plan(tmp_path: Path) -> None:
    found = saved(tmp_path, squeezenet(3))
    plan = found.plan("flowers", 0, ["daisy", "rose", "tulip"])
    assert plan.classes == ("daisy", "rose", "tulip")
    assert plan.handler_config["size"] == [224, 224]
    assert plan.handler_config["crop"] == 0.875
    assert plan.tensors.keys() == squeezenet(3).state_dict().keys()
    assert plan.model_text is not None
    assert "squeezenet1_1(weights=None, num_classes=3)" in plan.model_text


@pytest.mark.processes
def test_a_replaced_head_becomes_a_plan(tmp_path: Path) -> None:
    model = torchvision_model("mobilenet_v3_small")
    model.classifier = nn.Sequential(nn.Linear(576, 16), nn.ReLU(), nn.Linear(16, 2))
    plan = saved(tmp_path, model).plan("a", 0, [])
    prove(plan)
    assert plan.classes == ("class 0", "class 1")
    assert plan.tensors.keys() == model.state_dict().keys()


def test_batch_counts_come_along(tmp_path: Path) -> None:
    model = torchvision_model("shufflenet_v2_x0_5", num_classes=2)
    assert saved(tmp_path, model).plan("a", 0, []).tensors.keys() == model.state_dict().keys()


def test_a_wrong_count_of_class_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as error:
        saved(tmp_path, squeezenet(3)).plan("a", 0, ["daisy"])
    assert error.value.code == "class-count"


def test_class_names_of_the_checkpoint_are_known(tmp_path: Path) -> None:
    found = saved(tmp_path, squeezenet(2), class_to_idx={"b": 1, "a": 0})
    assert found.known_classes() == ("a", "b")
    assert saved(tmp_path, squeezenet(2), classes=["a"]).known_classes() == ()


def test_a_thousand_classes_are_imagenets(tmp_path: Path) -> None:
    found = saved(tmp_path, squeezenet(1000))
    assert found.known_classes()[0] == "tench"
    assert len(found.plan("a", 0, found.known_classes()).classes) == 1000


def test_all_that_fit_are_named_and_the_checkpoints_own_comes_first(tmp_path: Path) -> None:
    model = timm_model("efficientnet_b0", num_classes=2)
    names = [one.name for _, one in saved(tmp_path, model).fits]
    assert names[:2] == ["efficientnet_b0", "tf_efficientnet_b0"]
    found = saved(tmp_path, model, arch="tf_efficientnet_b0")
    assert found.fits[0][1].name == "tf_efficientnet_b0"
    plan = found.plan("a", 0, [])
    assert "timm's efficientnet_b0" in " ".join(plan.notes)
    assert plan.model_text is not None
    assert 'timm.create_model("tf_efficientnet_b0", pretrained=False' in plan.model_text


@pytest.mark.parametrize(
    ("task", "name", "classes", "named"),
    [
        (
            "segmentation",
            "lraspp_mobilenet_v3_large",
            ["cat"],
            ("background", "cat"),
        ),
        (
            "detection",
            "ssdlite320_mobilenet_v3_large",
            ["ground", "cat"],
            ("ground", "cat"),
        ),
    ],
)
def test_segmenters_and_detectors(
    tmp_path: Path, task: str, name: str, classes: list[str], named: tuple[str, ...]
) -> None:
    model = torchvision_model(name, weights_backbone=None, num_classes=2)
    plan = saved(tmp_path, model).plan("a", 0, classes)
    assert (plan.task, plan.classes) == (task, named)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("channels", "side", "colours"),
    [(1, 7, {"mode": "L", "mean": [0.449], "std": [0.226]}), (4, 5, {"mode": "RGBA"}), (3, 3, {})],
)
def test_a_changed_first_layer_is_written(
    tmp_path: Path, channels: int, side: int, colours: dict[str, Any]
) -> None:
    model = torchvision_model("resnet18", num_classes=2)
    model.conv1 = nn.Conv2d(channels, 64, side, bias=False)
    plan = saved(tmp_path, model).plan("a", 0, ())
    prove(plan)
    assert plan.handler_config.items() >= colours.items()
    assert any("conv1" in note for note in plan.notes)


@pytest.mark.processes
@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_network_without_its_head_is_written(tmp_path: Path, library: str) -> None:
    if library == "timm":
        model = timm_model("mobilenetv3_small_050", num_classes=0, in_chans=1)
    else:
        model = torchvision_model("mobilenet_v3_small")
        model.classifier = nn.Identity()
    plan = saved(tmp_path, model).plan("a", 0, ())
    prove(plan)
    assert plan.handler == ("image_handler", "ImageHandler")
    assert plan.classes == ()
    with pytest.raises(ProjectError) as error:
        saved(tmp_path, model).plan("a", 0, ["one"])
    assert error.value.code == "class-count"


def test_pictures_do_not_have_six_channels(tmp_path: Path) -> None:
    model = torchvision_model("resnet18", num_classes=2)
    model.conv1 = nn.Conv2d(6, 64, 7, bias=False)
    with pytest.raises(ProjectError) as error:
        saved(tmp_path, model).plan("a", 0, ())
    assert error.value.code == "input-channels"


def test_an_unknown_architecture_names_the_closest(tmp_path: Path) -> None:
    model = torchvision_model("resnet18", num_classes=2)
    model.layer1[0].conv1 = nn.Conv2d(64, 64, 1, bias=False)
    with pytest.raises(WeightsError) as error:
        saved(tmp_path, model)
    assert error.value.code == "architecture-unknown"
    assert "resnet18" in error.value.message
    assert tells(error.value.message, "layer1.0.conv1.weight", "64 x 64 x 1 x 1")
    with pytest.raises(WeightsError) as error:
        saved(tmp_path, nn.Linear(2, 2))
    assert error.value.code == "architecture-unknown"
