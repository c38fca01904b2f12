"""Layers, read off the names and shapes of a head that somebody put in place of the usual one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise, permutations

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

_MOST_NAMED = 6  # layers


@dataclass(frozen=True)
class Head:
    """The Python expression that builds a head, and its first and last width."""

    expression: str
    inputs: int
    outputs: int
    assumed: bool  # whether it has layers without tensors, of which the file says nothing
    is_none: bool = False  # the network ends before its head


def read_head(shapes: Shapes) -> Head | None:
    """Return the head whose state_dict has these tensors, or None if they do not tell.

    Between two layers with values a ReLU is assumed, before them and where more is missing Dropout.
    """
    own = {name: shape for name, shape in shapes.items() if "." not in name}
    if own:
        return _layer(own) if len(own) == len(shapes) else None
    parts: dict[str, dict[str, Shape]] = {}
    for name, shape in shapes.items():
        first, _, rest = name.partition(".")
        parts.setdefault(first, {})[rest] = shape
    heads = {name: read_head(part) for name, part in parts.items()}
    known = {name: head for name, head in heads.items() if head is not None}
    if not known or len(known) < len(heads):
        return None
    numbered = all(name.isdigit() for name in known)
    return _numbered({int(n): head for n, head in known.items()}) if numbered else _named(known)


def without_head(width: int) -> Head:
    """Return what stands in place of a head that was taken off."""
    return Head("nn.Identity()", width, width, assumed=False, is_none=True)


def _layer(own: Shapes) -> Head | None:
    shape = own.get("weight", ())
    if own.keys() - {"weight", "bias", "running_mean", "running_var"} or not shape:
        return None
    bias = "" if "bias" in own else ", bias=False"
    if len(shape) == 1:
        kind = "BatchNorm1d" if "running_mean" in own else "LayerNorm"
        return Head(f"nn.{kind}({shape[0]})", shape[0], shape[0], False)
    if len(shape) == 2:
        return Head(f"nn.Linear({shape[1]}, {shape[0]}{bias})", shape[1], shape[0], False)
    if len(shape) == 4 and shape[2] == shape[3] and shape[2] % 2:
        side = f", {shape[2]}" + (f", padding={shape[2] // 2}" if shape[2] > 1 else "")
        expression = f"nn.Conv2d({shape[1]}, {shape[0]}{side or ', 1'}{bias})"
        return Head(expression, shape[1], shape[0], shape[2] > 1)
    return None


def _numbered(layers: dict[int, Head]) -> Head | None:
    """Return a Sequential; the places that have no tensors are filled."""
    order = sorted(layers)
    if order[-1] > 64 or not _fits([layers[place] for place in order]):
        return None
    codes = []
    for place in range(order[-1] + 1):
        if place in layers:
            codes.append(layers[place].expression)
        elif place > order[0] and place - 1 in layers:
            codes.append("nn.ReLU()")
        else:
            codes.append("nn.Dropout()")
    first, last = layers[order[0]], layers[order[-1]]
    assumed = len(order) > 1 or any(one.assumed for one in layers.values())
    return Head(f"nn.Sequential({', '.join(codes)})", first.inputs, last.outputs, assumed)


def _named(layers: dict[str, Head]) -> Head | None:
    """Return a Sequential whose layers have names, in the order of the file."""
    # A file can have them sorted by name.
    orders = permutations(layers.items()) if len(layers) <= _MOST_NAMED else ()
    order = next((one for one in orders if _fits([layer for _, layer in one])), None)
    if order is None:
        return None
    layers = dict(order)
    parts: list[str] = []
    for place, (name, layer) in enumerate(layers.items()):
        if place:
            parts.append(f'("relu{place}", nn.ReLU())')
        parts.append(f'("{name}", {layer.expression})')
    first, *_, last = [*layers.values()] * 2
    expression = f"nn.Sequential(OrderedDict([{', '.join(parts)}]))"
    return Head(expression, first.inputs, last.outputs, len(layers) > 1)


def _fits(layers: list[Head]) -> bool:
    """Tell whether each layer takes what the one before it gives."""
    return all(one.outputs == two.inputs for one, two in pairwise(layers))
