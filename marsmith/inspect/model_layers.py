"""A model's layers, derived from the names of its tensors; no IO."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from marsmith.weights.state_dict_names import is_statistic

_FEW = 3  # so few groups say little, such as one `model` with everything
_NO_PARAMETERS = ("int64", "bool")  # counters, indices, shapes and masks


class Described(Protocol):
    """A tensor without its values."""

    @property
    def dtype(self) -> str:
        """The type of its values, by torch's name."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its size in each dimension."""

    @property
    def count(self) -> int:
        """The number of its values."""


@dataclass(frozen=True)
class Layer:
    """One module of a model, or several with a common prefix."""

    name: str
    modules: int
    parameters: int
    shapes: Mapping[str, tuple[int, ...]]  # of a single module's tensors, by name


def is_parameter(name: str, tensor: Described) -> bool:
    """Return whether a tensor is learnt, judged by name and dtype, and is not a statistic."""
    return tensor.dtype not in _NO_PARAMETERS and not is_statistic(name)


def module_of(name: str) -> str:
    """Return the module of a tensor: `layer1.0.conv1` of `layer1.0.conv1.weight`."""
    return name.rpartition(".")[0]


def layers_of(tensors: Mapping[str, Described], at_most: int | None = None) -> list[Layer]:
    """Group tensors by module, in their order.

    With `at_most`, modules with a common prefix are merged until there are no more groups.
    """
    groups: dict[str, dict[str, Described]] = {}
    depth = _depth({module_of(name) for name in tensors}, at_most)
    for name, tensor in tensors.items():
        groups.setdefault(_upper(module_of(name), depth), {})[name] = tensor
    return [_layer(name, group) for name, group in groups.items()]


def _depth(modules: Iterable[str], at_most: int | None) -> int:
    """Return how many parts of the names form groups, of which there may be `at_most`."""
    deepest = max((name.count(".") + 1 for name in modules), default=1)
    for depth in range(deepest, 0, -1):
        groups = len({_upper(name, depth) for name in modules})
        if at_most is None or groups <= at_most:
            # Slightly too many groups say more than one group with everything.
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
