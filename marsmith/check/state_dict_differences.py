"""How weights differ from the model they were loaded into, and why that may be."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from marsmith.weights.state_dict_names import is_statistic

_SHOWN = 4  # names of a long list
# As torch.nn.Module.load_state_dict says it.
_LIST = re.compile(r"^\s*(?P<kind>Missing|Unexpected) key\(s\) in state_dict: (?P<names>.*)", re.M)
_SHAPE = re.compile(
    r"size mismatch for (?P<name>\S+): copying a param with shape torch\.Size\(\[(?P<given>[\d, ]*)"
    r"\]\) from checkpoint, the shape in current model is torch\.Size\(\[(?P<expected>[\d, ]*)\]\)"
)


@dataclass(frozen=True)
class Differences:
    """Names that the weights lack, names they have beyond the model's, and (expected, given)."""

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    shapes: Mapping[str, tuple[list[int], list[int]]] = field(default_factory=dict)

    @property
    def short(self) -> str:
        """The differences in one line, the first of each kind."""
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
        """The likely cause, and what helps."""
        if self.missing and self.unexpected:
            found = _prefix(self.missing, self.unexpected)
        elif self.shapes:
            found = None if self.missing or self.unexpected else _of_shapes(self.shapes)
        elif self.missing:
            found = "the model has grown since they were saved: save them again, or load the older"
        elif all(map(is_statistic, self.unexpected)):
            found = (
                "they are counters, which nothing needs: take them out, or load with strict=False"
            )
        else:
            found = "they are of a larger model: load that, or save again what this one has"
        return found or "the weights are of another architecture: pair two that belong together"


def differences_in(message: str) -> Differences | None:
    """Read what an exception of load_state_dict says; None if it says nothing of names."""
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
    """Tell names that only differ by what stands before them."""
    prefixes = Counter(name.partition(".")[0] for name in unexpected)
    prefix = prefixes.most_common(1)[0][0]
    # Counters of normalising layers never count as missing.
    if set(missing) <= {name.removeprefix(f"{prefix}.") for name in unexpected}:
        return (
            f"the names begin with {prefix!r}, which a wrapper put there: "
            "marsmith weights extract takes it off"
        )
    if {name.partition(".")[2] for name in missing} <= set(unexpected):
        return "the model's names begin with a prefix: was a part of a model saved?"
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
