"""Which way up a picture is: EfficientNet-B0 with four classes, 0, 90, 180 and 270 degrees."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.models import efficientnet_b0


class RotationNet(torch.nn.Module):
    """Pictures [N, 3, H, W] to logits [N, 4]; class k: turn by 90 k degrees counter-clockwise.

    The keys of its state_dict are those of torchvision's `efficientnet_b0(num_classes=4)`
    (Tan and Le, EfficientNet, ICML 2019). Nothing is downloaded.
    """

    def __init__(self) -> None:
        super().__init__()
        network = efficientnet_b0(weights=None, num_classes=4)
        self.features, self.avgpool = network.features, network.avgpool
        self.classifier = network.classifier

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of the four turns."""
        features: Tensor = self.avgpool(self.features(images))
        logits: Tensor = self.classifier(features.flatten(1))
        return logits
