"""Which known architectures come close to a state_dict, and where they differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from marsmith.init.architectures import Architecture, Shape
from marsmith.init.recognise import Shapes, is_beside, prefixes, under


@dataclass(frozen=True)
class Near:
    """An architecture that fits in part, and where it differs first."""

    architecture: Architecture
    share: float  # of the tensors of both
    differences: tuple[str, ...]


def nearest(shapes: Shapes, architectures: Iterable[Architecture], most: int = 3) -> list[Near]:
    """Return the architectures that come closest, the closest first."""
    insides = [(prefix, under(shapes, prefix)) for prefix in prefixes(shapes)]
    near = []
    for one in architectures:
        body = one.tensors
        alike, prefix, inside = max(
            (sum(inside.get(n) == s for n, s in body.items()), prefix, inside)
            for prefix, inside in insides
        )
        share = alike / max(len(body), len(inside) - len(one.heads), 1)
        if alike:
            near.append((share, prefix, one, inside))
    near.sort(key=lambda found: -found[0])
    return [
        Near(one, share, tuple(_differences(one, inside, prefix)))
        for share, prefix, one, inside in near[:most]
    ]


def _differences(one: Architecture, inside: Shapes, prefix: str) -> Iterator[str]:
    for name, shape in one.tensors.items():
        given = inside.get(name)
        if given is None:
            yield f"{prefix}{name} is missing"
        elif given != shape:
            yield f"{prefix}{name} is {_by(given)}, not {_by(shape)}"
    for name in inside:
        if name not in one.tensors and name not in one.heads and not is_beside(name):
            yield f"{prefix}{name} is new"


def _by(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "one value"
