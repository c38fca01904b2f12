"""The architectures of torchvision and timm, as scripts/index_architectures.py wrote them down."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from marsmith.core.installed import is_installed

Shape = tuple[int, ...]
LIBRARIES = ("torchvision", "timm")


@dataclass(frozen=True)
class HeadTensor:
    """A tensor whose size follows from the count of classes: [times * classes, *rest]."""

    times: int
    rest: Shape

    def classes(self, shape: Shape) -> int | None:
        """Return the count of classes for which it has that shape, or None."""
        if not shape or shape[1:] != self.rest or shape[0] % self.times:
            return None
        return shape[0] // self.times


@dataclass(frozen=True)
class Model:
    """A model of a library, by the function and the arguments that build it."""

    library: str
    name: str
    arguments: dict[str, Any]
    input: dict[str, Any]  # size, resize, mean, std; {} if pictures go in as they are

    @property
    def title(self) -> str:
        """As people call it: `timm's resnet50`."""
        return f"{self.library}'s {self.name}"


@dataclass(frozen=True)
class Architecture:
    """What tensors a model has; several models can have the same."""

    task: str  # classification, segmentation or detection
    models: tuple[Model, ...]
    tensors: dict[str, Shape]  # of the body
    heads: dict[str, HeadTensor]


@dataclass(frozen=True)
class Index:
    """The architectures of a library, and the names of the classes that its weights know."""

    library: str
    version: str  # of the library
    architectures: tuple[Architecture, ...]
    categories: dict[str, list[str]]  # by task


@cache
def read_index(library: str) -> Index:
    """Return what is known of a library, whether it is installed or not."""
    path = Path(__file__).with_name(f"{library}.json.xz")
    value = json.loads(lzma.decompress(path.read_bytes()))
    found = tuple(_architecture(library, group) for group in value["groups"])
    return Index(library, value["version"], found, value.get("categories", {}))


def installed_indexes() -> Iterator[Index]:
    """Yield what is known of torchvision, and of timm if it is installed."""
    for library in LIBRARIES:
        if library == LIBRARIES[0] or is_installed(library):
            yield read_index(library)


def _architecture(library: str, group: dict[str, Any]) -> Architecture:
    return Architecture(
        group["task"],
        tuple(Model(library, m["name"], m["arguments"], m["input"]) for m in group["models"]),
        {name: tuple(shape) for name, shape in group["tensors"].items()},
        {n: HeadTensor(one["times"], tuple(one["rest"])) for n, one in group["heads"].items()},
    )
