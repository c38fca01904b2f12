"""A model's layers, as far as the names of its tensors tell them; no IO."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from marsmith.weights.state_dict_names import is_statistic

_FEW = 3  # groups that say nothing: all of a model in one `model`
_NO_PARAMETERS = ("int64", "bool")  # counters, indices, shapes and masks


class Described(Protocol):
    """What is known of a tensor without its values."""

    @property
    def dtype(self) -> str:
        """The type of its values, by torch's name."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its size in each dimension."""

    @property
    def count(self) -> int:
        """How many values it has."""


@dataclass(frozen=True)
class Layer:
    """One module of a model, or several below one name."""

    name: str
    modules: int
    parameters: int
    shapes: Mapping[str, tuple[int, ...]]  # of a single module's tensors, by their names in it


def is_parameter(name: str, tensor: Described) -> bool:
    """Tell what training learns from what it counts, as far as name and dtype show it."""
    return tensor.dtype not in _NO_PARAMETERS and not is_statistic(name)


def module_of(name: str) -> str:
    """Return the module of a tensor: `layer1.0.conv1` of `layer1.0.conv1.weight`."""
    return name.rpartition(".")[0]


def layers_of(tensors: Mapping[str, Described], at_most: int | None = None) -> list[Layer]:
    """Group tensors by module, in their order.

    With `at_most`, modules below one name are put together as far as that makes so few groups.
    """
    groups: dict[str, dict[str, Described]] = {}
    depth = _depth({module_of(name) for name in tensors}, at_most)
    for name, tensor in tensors.items():
        groups.setdefault(_upper(module_of(name), depth), {})[name] = tensor
    return [_layer(name, group) for name, group in groups.items()]


def _depth(modules: Iterable[str], at_most: int | None) -> int:
    """Return how many parts of their names tell groups apart, where there may be `at_most`."""
    deepest = max((name.count(".") + 1 for name in modules), default=1)
    for depth in range(deepest, 0, -1):
        groups = len({_upper(name, depth) for name in modules})
        if at_most is None or groups <= at_most:
            # A few groups too many say more than one that holds all.
            return depth + 1 if groups < _FEW and depth < deepest else depth
    return 1


def _upper(module: str, depth: int) -> str:
    return ".".join(module.split(".")[:depth])


def _layer(name: str, tensors: Mapping[str, Described]) -> Layer:
    modules = {module_of(one) for one in tensors}
    shapes = {one.rpartition(".")[2]: tensor.shape for one, tensor in tensors.items()}
    return Layer(
        name,
        len(modules),
        sum(tensor.count for one, tensor in tensors.items() if is_parameter(one, tensor)),
        shapes if len(modules) == 1 else {},
    )
