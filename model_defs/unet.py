"""A U-Net: a ResNet-18 looks at the picture, and a decoder draws from what it sees."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet18


class UNet(nn.Module):
    """Pictures [N, 3, H, W], normalised, to pictures [N, 3, H, W] around 0…1; H, W at least 32.

    Ronneberger, Fischer and Brox, U-Net (MICCAI 2015), with the encoder of torchvision's ResNet-18
    up to `layer3`: `layer4` holds three quarters of its weights, and lines are drawn from what is
    near. Nothing is downloaded.
    """

    def __init__(self) -> None:
        super().__init__()
        encoder = resnet18(weights=None)
        self.stem = nn.Sequential(encoder.conv1, encoder.bn1, encoder.relu)  # 64, 1/2
        self.pool = encoder.maxpool
        self.layer1, self.layer2, self.layer3 = encoder.layer1, encoder.layer2, encoder.layer3
        self.up3 = _joined(256 + 128, 96)
        self.up2 = _joined(96 + 64, 64)
        self.up1 = _joined(64 + 64, 48)
        self.up0 = _joined(48 + 3, 32)
        self.head = nn.Conv2d(32, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the drawings."""
        half = self.stem(images)
        quarter = self.layer1(self.pool(half))
        eighth = self.layer2(quarter)
        features = self.layer3(eighth)
        features = self.up3(_enlarged(features, eighth))
        features = self.up2(_enlarged(features, quarter))
        features = self.up1(_enlarged(features, half))
        drawings: Tensor = self.head(self.up0(_enlarged(features, images)))
        return drawings


def _joined(width: int, out: int) -> nn.Sequential:
    layers = []
    for before in (width, out):
        conv = nn.Conv2d(before, out, 3, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers)


def _enlarged(features: Tensor, skipped: Tensor) -> Tensor:
    larger = functional.interpolate(features, size=skipped.shape[-2:], mode="nearest")
    return torch.cat([larger, skipped], dim=1)
