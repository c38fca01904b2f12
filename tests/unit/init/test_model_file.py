from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from marsmith.init.model_file import model_file
from marsmith.init.names import names_for
from marsmith.programs.recognise_architecture import built, only_class
from tests.unit.init.networks import network, recognised, shapes


def written(model: nn.Module) -> str:
    first, *others = recognised(shapes(model))
    rest = [one for match in others for one in match.architecture.models]
    return model_file(names_for("flowers"), first, first.architecture.models[0], rest)


def other_head(name: str, place: str, head: nn.Module) -> nn.Module:
    model = network(name)
    model.set_submodule(place, head)
    return model


MODELS = {
    "resnet18": lambda: network("resnet18", num_classes=3),
    "inception": lambda: network("inception_v3", num_classes=3, init_weights=False),
    "deeplab": lambda: network(
        "deeplabv3_mobilenet_v3_large", weights_backbone=None, num_classes=3, aux_loss=True
    ),
    "other-head": lambda: other_head(
        "vgg11", "classifier.6", nn.Sequential(nn.Dropout(), nn.Linear(4096, 3))
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_class_builds_the_network(name: str) -> None:
    model = MODELS[name]()
    assert shapes(built(only_class(written(model)))) == shapes(model)


@pytest.mark.parametrize("name", MODELS)
def test_no_line_is_too_long(name: str) -> None:
    assert max(map(len, written(MODELS[name]()).splitlines())) <= 100


def test_what_is_not_sure_is_said_at_its_place() -> None:
    text = written(MODELS["inception"]())
    assert "# Not sure: " in text
    assert "transform_input=True" in text


def test_others_that_fit_are_named() -> None:
    model: Any = network("resnet18", num_classes=3)
    assert "timm's resnet18" in written(model)
