"""ResNet-50 as torchvision has it (He et al., Deep Residual Learning, CVPR 2016)."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.models import resnet50


class ResNet50(torch.nn.Module):
    """Pictures [N, 3, 224, 224] to logits [N, 1000]; its keys are those of `resnet50()`."""

    def __init__(self) -> None:
        """Build the layers with fresh random weights."""
        super().__init__()
        network = resnet50(weights=None)
        self.conv1, self.bn1, self.relu = network.conv1, network.bn1, network.relu
        self.maxpool, self.avgpool, self.fc = network.maxpool, network.avgpool, network.fc
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of all classes."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits
