"""ResNet-50 as torchvision has it (He et al., Deep Residual Learning, CVPR 2016)."""

from __future__ import annotations

from torchvision.models.resnet import Bottleneck, ResNet


class ResNet50(ResNet):  # type: ignore[misc]  # torchvision has no types
    """Pictures [N, 3, 224, 224] to logits [N, 1000]; its keys are those of `resnet50()`."""

    def __init__(self) -> None:
        """Build the layers with fresh random weights."""
        super().__init__(Bottleneck, [3, 4, 6, 3])
