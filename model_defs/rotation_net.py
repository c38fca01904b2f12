"""Which way up a picture is: EfficientNet-Lite0 and a small head that reads its late stages."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# Kernel, stride, factor of expansion, channels and number of each stage's blocks.
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_FEATURES = 112 + 192 + 320 + 1280


class RotationNet(nn.Module):
    """Pictures [N, 3, H, W] to logits [N, 4]; class k: turn by 90 k degrees counter-clockwise.

    H and W are multiples of 32. Tan and Le, EfficientNet (ICML 2019) in the form for small devices:
    no squeeze-and-excitation, ReLU6, and a first and a last layer that do not scale.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_convolution(3, 32, 3, stride=2), nn.ReLU6())
        self.blocks = nn.ModuleList()
        self.adds: list[bool] = []  # for each block, whether it adds to what it was given
        self.reads = [10, 14, 15]  # the last blocks of the last three stages
        channels = 32
        for kernel, stride, factor, width, count in _STAGES:
            for index in range(count):
                steps = stride if index == 0 else 1
                self.blocks.append(_block(channels, width, kernel, steps, factor))
                self.adds.append(index > 0)
                channels = width
        self.head = nn.Sequential(*_convolution(channels, 1280, 1), nn.ReLU6())
        self.classifier = nn.Sequential(
            nn.BatchNorm1d(_FEATURES),
            nn.Dropout(0.2),
            nn.Linear(_FEATURES, 128),
            nn.GELU(),
            nn.Dropout(0.5),
            nn.Linear(128, 4),
        )

    def features(self, images: Tensor) -> Tensor:
        """Return the means of the last three stages and of the head, [N, 1904]."""
        maps = self.stem(images)
        read = []
        for index, block in enumerate(self.blocks):
            changed = block(maps)
            maps = maps + changed if self.adds[index] else changed
            if index in self.reads:
                read.append(maps)
        read.append(self.head(maps))
        return torch.cat([functional.adaptive_avg_pool2d(one, 1).flatten(1) for one in read], 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of the four turns."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


def _block(channels: int, width: int, kernel: int, stride: int, factor: int) -> nn.Sequential:
    """Return an inverted residual: expand, convolve each channel by itself, project."""
    inner = channels * factor
    layers = [*_convolution(channels, inner, 1), nn.ReLU6()] if factor > 1 else []
    layers += [*_convolution(inner, inner, kernel, stride, groups=inner), nn.ReLU6()]
    return nn.Sequential(*layers, *_convolution(inner, width, 1))


def _convolution(
    channels: int, width: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """Return a convolution and its normalisation, padded and scaled as TensorFlow does."""
    before = (kernel - stride) // 2 if kernel > 1 else 0
    padding: list[nn.Module] = []
    if stride == 2:  # one side gets a pixel more, which a convolution's own padding cannot
        padding, before = [nn.ZeroPad2d((before, before + 1, before, before + 1))], 0
    convolution = nn.Conv2d(channels, width, kernel, stride, before, groups=groups, bias=False)
    return [*padding, convolution, nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)]
