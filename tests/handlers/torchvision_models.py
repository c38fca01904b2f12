"""torchvision's segmenters and detectors with random weights, as a worker finds them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

# Name → how a model file builds it. Few classes and small inputs keep the tests quick.
SEGMENTERS = {
    "deeplabv3_resnet50": "num_classes=4, aux_loss=True",
    "deeplabv3_mobilenet_v3_large": "num_classes=4",
    "lraspp_mobilenet_v3_large": "num_classes=4",
    "fcn_resnet50": "num_classes=4, aux_loss=True",
}
DETECTORS = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": "num_classes=4, box_score_thresh=0.0",
    "ssdlite320_mobilenet_v3_large": "num_classes=4, score_thresh=0.0",
    "retinanet_resnet50_fpn": "num_classes=4, score_thresh=0.0, min_size=96, max_size=96",
}
_SOURCE = """
import torch
from torchvision.models.{part} import {name}


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.network = {name}(weights=None, weights_backbone=None, {options})

    def forward(self, images):
        return self.network(images)
"""


def source(name: str) -> str:
    """Return the text of a model file that wraps one of torchvision's models."""
    part, options = "segmentation", SEGMENTERS.get(name)
    if options is None:
        part, options = "detection", DETECTORS[name]
    return _SOURCE.format(part=part, name=name, options=options)


@contextmanager
def model_folder(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """Write a model file and weights; yield what a manifest says of them."""
    module = f"wrapped_{name}"
    (folder / f"{module}.py").write_text(source(name))
    sys.path.insert(0, str(folder))
    try:
        torch.manual_seed(0)
        torch.save(__import__(module).Model().state_dict(), folder / "model.pth")
        yield {"modelFile": f"{module}.py", "serializedFile": "model.pth"}
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(module, None)
