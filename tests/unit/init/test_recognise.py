from __future__ import annotations

from collections import OrderedDict
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from marsmith.programs.recognise_architecture import built
from tests.unit.init.networks import (
    network,
    recognised,
    shapes,
    the_one,
    timm_model,
    titles,
)

pytestmark = pytest.mark.processes

# One of each family of torchvision's classifiers.
FAMILIES = """
alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s maxvit_t mnasnet0_5
mobilenet_v2 mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18 resnet50 resnext50_32x4d
shufflenet_v2_x0_5 squeezenet1_1 swin_t swin_v2_t vgg11 vgg11_bn vit_b_32 wide_resnet50_2
"""
SEGMENTERS = ["deeplabv3_mobilenet_v3_large", "deeplabv3_resnet50", "fcn_resnet50"]
DETECTORS = """
fasterrcnn_resnet50_fpn fasterrcnn_resnet50_fpn_v2 fcos_resnet50_fpn maskrcnn_resnet50_fpn
retinanet_resnet50_fpn retinanet_resnet50_fpn_v2 ssd300_vgg16 ssdlite320_mobilenet_v3_large
"""
PREFIXES = ["module.", "model.", "net.", "backbone.", "_orig_mod.", "model._orig_mod.module."]


@pytest.mark.parametrize("name", FAMILIES.split())
@pytest.mark.parametrize(("classes", "prefix"), [(3, "module."), (1000, "model.")])
def test_a_classifier_is_recognised(name: str, classes: int, prefix: str) -> None:
    match = the_one(shapes(network(name, num_classes=classes), prefix))
    assert name in [model.name for model in match.architecture.models]
    assert (match.classes, match.outputs, match.head) == (classes, classes, None)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
@pytest.mark.parametrize("aux_logits", [True, False])
def test_auxiliary_outputs_are_seen(name: str, aux_logits: bool) -> None:
    arguments: dict[str, Any] = {"aux_logits": aux_logits, "init_weights": False}
    match = the_one(shapes(network(name, num_classes=4, **arguments)))
    assert match.architecture.models[0].arguments == arguments
    assert match.outputs == 4


@pytest.mark.parametrize("name", SEGMENTERS)
@pytest.mark.parametrize("aux_loss", [True, None])
def test_a_segmenter_is_recognised(name: str, aux_loss: bool | None) -> None:
    found = network(name, weights_backbone=None, num_classes=5, aux_loss=aux_loss)
    match = the_one(shapes(found, "model."))
    (model,) = match.architecture.models
    assert (model.name, model.arguments.get("aux_loss")) == (name, aux_loss)
    assert (match.architecture.task, match.outputs) == ("segmentation", 5)


def test_lraspp_is_recognised() -> None:
    found = network("lraspp_mobilenet_v3_large", weights_backbone=None, num_classes=2)
    assert the_one(shapes(found)).outputs == 2


@pytest.mark.parametrize("name", DETECTORS.split())
@pytest.mark.parametrize("classes", [2, 7])
def test_a_detector_is_recognised(name: str, classes: int) -> None:
    found = network(name, weights_backbone=None, num_classes=classes)
    match = the_one(shapes(found, "module."))
    assert name in [model.name for model in match.architecture.models]
    assert (match.architecture.task, match.outputs) == ("detection", classes)


@pytest.mark.parametrize("name", ["efficientnet_b0", "vit_tiny_patch16_224", "convnext_atto"])
def test_a_model_of_timm_is_recognised(name: str) -> None:
    found = built(partial(timm_model, name, num_classes=6))
    match = the_one(shapes(found, "model."), "timm")
    assert name in [model.name for model in match.architecture.models]
    assert match.outputs == 6


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_is_taken_off(prefix: str) -> None:
    match = the_one(shapes(network("resnet18", num_classes=3), prefix))
    assert match.prefix == prefix.replace("module.", "").replace("_orig_mod.", "")


def test_two_libraries_can_fit_equally() -> None:
    found = titles(shapes(network("resnet50", num_classes=5)))
    assert found[0] == "torchvision's resnet50"
    assert "timm's resnet50" in found


@pytest.mark.parametrize(
    "beside",
    ["criterion.weight", "loss_fn.weight", "train_acc.correct", "val_f1.tp", "metrics.confmat"],
)
def test_what_training_keeps_beside_a_model_is_passed_over(beside: str) -> None:
    found = shapes(network("resnet18", num_classes=3), "model.") | {beside: (3,)}
    assert the_one(found).prefix == "model."


def test_a_moving_average_counts_its_models() -> None:
    averaged = torch.optim.swa_utils.AveragedModel(network("resnet18", num_classes=3))
    assert the_one(shapes(averaged)).outputs == 3


def test_of_a_model_and_its_average_the_model_is_taken() -> None:
    model = network("resnet18", num_classes=3)
    assert the_one(shapes(model, "ema_model.") | shapes(model, "net.")).prefix == "net."


def test_other_layers_beside_a_model_make_it_another() -> None:
    found = shapes(network("resnet18", num_classes=3), "encoder.")
    assert recognised(found | {"decoder.weight": (3, 3)}) == []


@pytest.mark.parametrize(
    ("name", "place", "width"),
    [
        ("resnet18", "fc", 512),
        ("mobilenet_v3_small", "classifier", 576),
        ("mobilenet_v3_small", "classifier.3", 1024),
        ("densenet121", "classifier", 1024),
        ("swin_t", "head", 768),
    ],
)
def test_a_network_without_its_head_gives_vectors(name: str, place: str, width: int) -> None:
    model: Any = network(name)
    parent, _, last = place.rpartition(".")
    setattr(model.get_submodule(parent), last, nn.Identity())
    match = recognised(shapes(model, "encoder."))[0]
    assert name in [one.name for one in match.architecture.models]
    assert (match.task, match.head_place, match.outputs) == ("embedding", place, width)


def test_a_network_without_its_head_beside_other_layers_is_not_recognised() -> None:
    model: Any = network("resnet18")
    model.fc = nn.Identity()
    assert recognised({**shapes(model, "encoder."), "projection.weight": (128, 512)}) == []


@pytest.mark.parametrize(
    ("name", "place", "channels", "side"),
    [
        ("resnet18", "conv1", 1, 7),
        ("resnet18", "conv1", 3, 3),
        ("densenet121", "features.conv0", 4, 7),
        ("vit_b_32", "conv_proj", 1, 32),
        ("efficientnet_b0", "features.0.0", 6, 3),
    ],
)
def test_a_changed_first_layer_is_named(name: str, place: str, channels: int, side: int) -> None:
    model: Any = network(name, num_classes=3)
    usual = model.get_submodule(place)
    own = nn.Conv2d(channels, usual.out_channels, side, bias=usual.bias is not None, device="meta")
    parent, _, last = place.rpartition(".")
    setattr(model.get_submodule(parent), last, own)
    match = recognised(shapes(model, "module."))[0]
    assert name in [one.name for one in match.architecture.models]
    assert match.stem is not None
    assert (match.stem.place, match.stem.channels) == (place, channels)
    assert match.stem.same_kernel == (side == usual.kernel_size[0])
    assert match.outputs == 3


def test_a_detector_for_grey_pictures_is_not_recognised() -> None:
    found = shapes(network("ssd300_vgg16", weights_backbone=None))
    found["backbone.features.0.weight"] = (64, 1, 3, 3)
    assert recognised(found) == []


def linear(*widths: int) -> list[nn.Module]:
    return [nn.Linear(a, b, device="meta") for a, b in pairwise(widths)]


HEADS = [
    ("resnet18", "fc", nn.Sequential(nn.Dropout(), *linear(512, 4))),
    ("resnet18", "fc", nn.Sequential(*linear(512, 64), nn.ReLU(), nn.Dropout(), *linear(64, 4))),
    ("vgg11", "classifier", linear(25088, 4)[0]),
    ("vgg11", "classifier.6", nn.Sequential(*linear(4096, 256), nn.ReLU(), *linear(256, 4))),
    ("efficientnet_b0", "classifier", linear(1280, 4)[0]),
    ("mobilenet_v3_small", "classifier", nn.Sequential(*linear(576, 4))),
    ("vit_b_32", "heads", linear(768, 4)[0]),
    ("vit_b_32", "heads.head", nn.Sequential(nn.Dropout(), *linear(768, 4))),
    (
        "densenet121",
        "classifier",
        nn.Sequential(
            OrderedDict(fc1=linear(1024, 9)[0], relu=nn.ReLU(), out=linear(9, 4)[0]),
        ),
    ),
]


@pytest.mark.parametrize(("name", "place", "head"), HEADS)
def test_a_replaced_head_is_written_as_it_is(name: str, place: str, head: nn.Module) -> None:
    model = network(name)
    model.set_submodule(place, head)
    match = the_one(shapes(model, "model."))
    assert match.head is not None
    assert (match.head_place, match.outputs) == (place, 4)
    space = {"nn": nn, "OrderedDict": OrderedDict}
    written = eval(match.head.expression, space)  # noqa: S307 (the code is made of these shapes)
    assert shapes(written) == shapes(head)


def test_a_replaced_head_beside_an_auxiliary_one() -> None:
    model: Any = network("inception_v3", init_weights=False)
    model.fc = nn.Linear(2048, 3, device="meta")
    match = the_one(shapes(model))
    assert (match.classes, match.outputs, match.head_place) == (1000, 3, "fc")


def test_another_head_of_a_segmenter() -> None:
    from torchvision.models.segmentation.deeplabv3 import DeepLabHead

    model: Any = network("deeplabv3_resnet50", weights_backbone=None, aux_loss=True)
    model.classifier = DeepLabHead(2048, 2)
    match = the_one(shapes(model))
    assert (match.classes, match.outputs, match.head_place) == (21, 2, "classifier.4")


def test_a_head_of_another_width_does_not_fit() -> None:
    found = shapes(network("resnet18")) | {"fc.weight": (3, 511), "fc.bias": (3,)}
    assert recognised(found) == []
