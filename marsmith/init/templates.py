"""Small networks with random weights, to start from when there are no weights yet."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from marsmith.core.errors import ProjectError
from marsmith.weights.tensors import Storage, Tensor, contiguous

_SEED = 0
_COUNT = "CLASSES"


@dataclass(frozen=True)
class Template:
    """A kind of model: its network, the layers that have tensors, and how pictures go in."""

    task: str
    network: str  # the body of its class, where _COUNT stands for how many classes there are
    body: dict[str, tuple[int, ...]]  # the shape of each layer's weight, all but the head's
    head: tuple[int, ...]  # that of the head, without the classes; () if there are none
    classes: tuple[str, ...]
    handler_config: dict[str, Any]
    imports: tuple[str, ...] = ("import torch", "from torch import nn")

    @property
    def layers(self) -> dict[str, tuple[int, ...]]:
        """The shape of each layer's weight."""
        if not self.head:
            return self.body
        first, *rest = self.head
        return {**self.body, "head": (first + len(self.classes), *rest)}

    def with_classes(self, classes: Sequence[str]) -> Template:
        """Return it with other classes. Raises ProjectError if it cannot tell these apart."""
        if not classes:
            return self
        if not self.head:
            raise ProjectError(
                f"a template for {self.task} has no classes",
                "leave out --classes",
                code="class-count",
            )
        if len(classes) == 1 and self.task != "detection":
            raise ProjectError(
                "a model cannot tell one class apart",
                "name at least two; if all else is the other one, name it too: "
                f"--classes {classes[0]},other",
                code="class-count",
            )
        return replace(self, classes=tuple(classes))


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
        self.head = nn.Linear(32, CLASSES)

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
        self.head = nn.Conv2d(16, CLASSES, 1)

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
        self.head = nn.Conv2d(32, 4 + CLASSES, 1)  # of each place: a box, and a score of each class

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
        {"body.0": (16, 3, 3, 3), "body.2": (32, 16, 3, 3)},
        (0, 32),
        ("red", "green", "blue"),
        {"size": [64, 64], "crop": 1.0, "mean": [0.5], "std": [0.5]},
    ),
    "segmenter": Template(
        "segmentation",
        _SEGMENTER,
        {"body.0": (16, 3, 3, 3), "body.2": (16, 16, 3, 3)},
        (0, 16, 1, 1),
        ("ground", "one", "two"),
        {"longest_side": 256, "mean": [0.5], "std": [0.5]},
    ),
    "detector": Template(
        "detection",
        _DETECTOR,
        {"body.0": (16, 3, 3, 3), "body.2": (32, 16, 3, 3)},
        (4, 32, 1, 1),
        ("one", "two", "three"),
        {"longest_side": 320, "threshold": 0.5},
        ("import torch", "import torchvision", "from torch import nn"),
    ),
    "image-to-image": Template(
        "image-to-image",
        _IMAGE_TO_IMAGE,
        {"body.0": (16, 3, 3, 3), "body.2": (3, 16, 3, 3)},
        (),
        (),
        {"longest_side": 512},
    ),
}


def network_file(template: Template, archive: str, name: str) -> str:
    """Return the text of the template's model file."""
    head = f'"""The network of the archive {archive}: a small one, to be replaced by yours."""'
    parts = [head, "", "from __future__ import annotations", "", *template.imports, "", ""]
    body = template.network.replace(_COUNT, str(len(template.classes)))
    text = f'class {name}(nn.Module):\n    """Its weights are random."""\n{body}'
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
