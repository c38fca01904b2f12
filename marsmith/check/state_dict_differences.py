"""How weights differ from the model that should load them, and the likely cause."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from marsmith.weights.state_dict_names import is_statistic

_SHOWN = 4  # names of a long list
# The messages of torch.nn.Module.load_state_dict.
_LIST = re.compile(r"^\s*(?P<kind>Missing|Unexpected) key\(s\) in state_dict: (?P<names>.*)", re.M)
_SHAPE = re.compile(
    r"size mismatch for (?P<name>\S+): copying a param with shape torch\.Size\(\[(?P<given>[\d, ]*)"
    r"\]\) from checkpoint, the shape in current model is torch\.Size\(\[(?P<expected>[\d, ]*)\]\)"
)


@dataclass(frozen=True)
class Differences:
    """Names that the weights lack, names that the model lacks, and shapes (expected, given)."""

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    shapes: Mapping[str, tuple[list[int], list[int]]] = field(default_factory=dict)

    @property
    def short(self) -> str:
        """The first differences of each kind, in one line."""
        parts = []
        for kind, names in (("missing", self.missing), ("unexpected", self.unexpected)):
            if names:
                more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
                parts.append(f"{kind} {', '.join(names[:_SHOWN])}{more}")
        for name, (expected, given) in list(self.shapes.items())[:_SHOWN]:
            parts.append(f"{name} is {_shape(given)}, the model's {_shape(expected)}")
        return "; ".join(parts)

    @property
    def cause(self) -> str:
        """The likely cause and its cure, as a hint."""
        if self.missing and self.unexpected:
            found = _prefix(self.missing, self.unexpected)
        elif self.shapes:
            found = None if self.missing or self.unexpected else _of_shapes(self.shapes)
        elif self.missing:
            found = "the model was extended later: save the weights again, or use the older model"
        elif all(map(is_statistic, self.unexpected)):
            found = "they are unused statistics: remove them, or load with strict=False"
        else:
            found = "they are of a larger model: use that model, or save the weights of this one"
        return found or "the weights are of another architecture: use the matching model or weights"


def differences_in(message: str) -> Differences | None:
    """Read the message of load_state_dict's exception; None if it names no tensors."""
    lists: dict[str, list[str]] = {"Missing": [], "Unexpected": []}
    for found in _LIST.finditer(message):
        lists[found["kind"]] += re.findall(r'"([^"]+)"', found["names"])
    shapes = {
        found["name"]: (_sizes(found["expected"]), _sizes(found["given"]))
        for found in _SHAPE.finditer(message)
    }
    if not shapes and not any(lists.values()):
        return None
    return Differences(lists["Missing"], lists["Unexpected"], shapes)


def _sizes(text: str) -> list[int]:
    return [int(size) for size in text.split(",") if size.strip()]


def _shape(sizes: list[int]) -> str:
    return " x ".join(map(str, sizes)) or "one value"


def _prefix(missing: list[str], unexpected: list[str]) -> str | None:
    """Return a cause if the names only differ by a prefix."""
    prefixes = Counter(name.partition(".")[0] for name in unexpected)
    prefix = prefixes.most_common(1)[0][0]
    # Statistics of normalising layers are never reported as missing.
    if set(missing) <= {name.removeprefix(f"{prefix}.") for name in unexpected}:
        return (
            f"the names have the prefix {prefix!r} of a wrapper: "
            "marsmith weights extract removes it"
        )
    if {name.partition(".")[2] for name in missing} <= set(unexpected):
        return "the model's names have a prefix: was only a part of the model saved?"
    return None


def _of_shapes(shapes: Mapping[str, tuple[list[int], list[int]]]) -> str | None:
    pairs = list(shapes.values())
    expected, given = pairs[0]
    if all(one == other[::-1] for one, other in pairs):
        return "the shapes are transposed: were they converted from another framework?"
    if all(one[1:] == other[1:] for one, other in pairs):
        return (
            f"another number of classes: the weights have {given[0]}, the model {expected[0]}; "
            "give the model's constructor the right default"
        )
    if all(one[:1] == other[:1] and one[2:] == other[2:] for one, other in pairs):
        return (
            f"another number of input channels: the weights have {given[1]}, the model "
            f"{expected[1]}; give the model's constructor the right default"
        )
    return None
