"""Small networks with random weights, to start from when there are no weights yet."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from marsmith.weights.tensors import Storage, Tensor, contiguous

_SEED = 0


@dataclass(frozen=True)
class Template:
    """A kind of model: its network, the layers that have tensors, and how pictures go in."""

    task: str
    network: str  # the body of its class
    layers: dict[str, tuple[int, ...]]  # the shape of each layer's weight
    classes: tuple[str, ...]
    handler_config: dict[str, Any]
    imports: tuple[str, ...] = ("import torch", "from torch import nn")


_CLASSIFIER = '''
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(32, 3)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Turn [N, 3, H, W] into [N, classes]."""
        return self.head(self.body(batch))
'''
_SEGMENTER = '''
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(16, 3, 1)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Turn [N, 3, H, W] into [N, classes, H, W]."""
        return self.head(self.body(batch))
'''
_IMAGE_TO_IMAGE = '''
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1)
        )

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Turn [N, 3, H, W] into pictures of the same size, values 0 to 1."""
        return (batch + 0.1 * self.body(batch)).clamp(0, 1)
'''
_DETECTOR = '''
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=8, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=4, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(32, 4 + 3, 1)  # of each place: a box, and a score of each class

    def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        """Give {"boxes", "labels", "scores"} per image [3, H, W], as torchvision's detectors do."""
        return [self._found(image) for image in images]

    def _found(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        grid = self.head(self.body(image[None]))[0]
        rows, columns = grid.shape[1:]
        height, width = image.shape[1:]
        step = torch.tensor([width / columns, height / rows], device=image.device)
        y, x = torch.meshgrid(
            torch.arange(rows, device=image.device),
            torch.arange(columns, device=image.device),
            indexing="ij",
        )
        places = grid.flatten(1).T
        middle = (torch.stack([x.flatten(), y.flatten()], 1) + places[:, :2].sigmoid()) * step
        half = places[:, 2:4].exp() * step / 2
        limit = torch.tensor([width, height], device=image.device)
        boxes = torch.cat([(middle - half).clamp(min=0), torch.min(middle + half, limit)], 1)
        scores, labels = places[:, 4:].sigmoid().max(1)
        kept = torchvision.ops.batched_nms(boxes, scores, labels, 0.5)[:20]
        return {"boxes": boxes[kept], "labels": labels[kept], "scores": scores[kept]}
'''
TEMPLATES = {
    "classifier": Template(
        "classification",
        _CLASSIFIER,
        {"body.0": (16, 3, 3, 3), "body.2": (32, 16, 3, 3), "head": (3, 32)},
        ("red", "green", "blue"),
        {"size": [64, 64], "crop": 1.0, "mean": [0.5], "std": [0.5]},
    ),
    "segmenter": Template(
        "segmentation",
        _SEGMENTER,
        {"body.0": (16, 3, 3, 3), "body.2": (16, 16, 3, 3), "head": (3, 16, 1, 1)},
        ("ground", "one", "two"),
        {"longest_side": 256, "mean": [0.5], "std": [0.5]},
    ),
    "detector": Template(
        "detection",
        _DETECTOR,
        {"body.0": (16, 3, 3, 3), "body.2": (32, 16, 3, 3), "head": (7, 32, 1, 1)},
        ("one", "two", "three"),
        {"longest_side": 320, "threshold": 0.5},
        ("import torch", "import torchvision", "from torch import nn"),
    ),
    "image-to-image": Template(
        "image-to-image",
        _IMAGE_TO_IMAGE,
        {"body.0": (16, 3, 3, 3), "body.2": (3, 16, 3, 3)},
        (),
        {"longest_side": 512},
    ),
}


def network_file(template: Template, archive: str, name: str) -> str:
    """Return the text of the template's model file."""
    head = f'"""The network of the archive {archive}: a small one, to be replaced by yours."""'
    parts = [head, "", "from __future__ import annotations", "", *template.imports, "", ""]
    text = f'class {name}(nn.Module):\n    """Its weights are random."""\n{template.network}'
    return "\n".join([*parts, text])


@contextmanager
def random_tensors(template: Template) -> Iterator[dict[str, Tensor]]:
    """Give the template's tensors, always the same, for as long as they are needed."""
    import numpy as np

    values = np.random.default_rng(_SEED)
    with TemporaryDirectory(prefix="marsmith-init-") as folder:
        path = Path(folder) / "values"
        tensors: dict[str, Tensor] = {}
        with path.open("wb") as file:
            for layer, shape in template.layers.items():
                scale = math.sqrt(2 / math.prod(shape[1:]))
                for name, size, spread in (
                    (f"{layer}.weight", shape, scale),
                    (f"{layer}.bias", shape[:1], 0.0),
                ):
                    numbers = (values.standard_normal(size) * spread).astype("<f4")
                    storage = Storage(path, file.tell(), numbers.nbytes)
                    file.write(numbers.tobytes())
                    tensors[name] = Tensor("float32", size, storage, 0, contiguous(size))
        yield tensors
