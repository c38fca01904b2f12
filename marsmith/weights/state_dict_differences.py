"""How weights differ from the model that should load them, and the likely cause."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from marsmith.weights.state_dict_names import is_measure, is_statistic, is_training_checkpoint

_SHOWN = 4  # names of a long list
# The messages of torch.nn.Module.load_state_dict.
_LIST = re.compile(r"^\s*(?P<kind>Missing|Unexpected) key\(s\) in state_dict: (?P<names>.*)", re.M)
_SHAPE = re.compile(
    r"size mismatch for (?P<name>\S+): copying a param with shape torch\.Size\(\[(?P<given>[\d, ]*)"
    r"\]\) from checkpoint, the shape in current model is torch\.Size\(\[(?P<expected>[\d, ]*)\]\)"
)


class Cause(NamedTuple):
    """Why weights do not fit a model: its kind, and a hint that says it with the cure."""

    kind: str
    hint: str


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

    def cause(self, file: str = "FILE") -> Cause:
        """Return the likely cause and its cure; `file` holds the weights."""
        found: Cause | None
        if self.is_of_training_checkpoint:
            found = Cause("checkpoint", f"it is a training checkpoint: {extraction(file)}")
        elif self.missing and self.unexpected:
            found = _prefix(self.missing, self.unexpected, file)
        elif self.shapes:
            found = None if self.missing or self.unexpected else _of_shapes(self.shapes)
        elif self.missing:
            hint = "the model was extended later: save the weights again, or use the older model"
            found = Cause("extended", hint)
        else:
            found = _of_more(self.unexpected, file)
        other = "the weights are of another architecture: use the matching model or weights"
        return found or Cause("architecture", other)

    @property
    def is_of_training_checkpoint(self) -> bool:
        """Whether the names are those of a training checkpoint, not of tensors."""
        return is_training_checkpoint(self.unexpected) and len(self.missing) > 0


def extraction(file: str, options: str = "") -> str:
    """Return what to do to get the state_dict of a file of weights."""
    folder, slash, name = file.rpartition("/")
    stem, _, ending = name.partition(".")
    out = f"{folder}{slash}{stem}{'' if ending == 'safetensors' else '-state'}.pth"
    command = f"marsmith weights extract {file}{options} --out {out}"
    return f"{command}, and set serialized_file to what it writes"


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


def _prefix(missing: list[str], unexpected: list[str], file: str) -> Cause | None:
    """Return a cause if the names only differ by a prefix."""
    given, wanted = _prefixes(missing, unexpected)
    if not given and not wanted:
        return None
    options = (f" --strip-prefix {given}" if given else "") + (
        f" --add-prefix {wanted}" if wanted else ""
    )
    if given and wanted:
        cause = f"the names have the prefix {given!r}, the model's {wanted!r}"
    elif given:
        cause = f"the names have the prefix {given!r} of what held the model"
    else:
        cause = f"the model's names have the prefix {wanted!r}"
    return Cause("prefix", f"{cause}: {extraction(file, options)}")


def _prefixes(missing: list[str], unexpected: list[str]) -> tuple[str, str]:
    """Return the prefix of the weights' names and that of the model's, by which they differ.

    Statistics of normalising layers are never reported as missing, so there may be more weights.
    """
    name = min(missing, key=len)
    parts = name.split(".")
    for start in range(len(parts)):
        tail = ".".join(parts[start:])
        for other in unexpected:
            if other != tail and not other.endswith(f".{tail}"):
                continue
            given, wanted = other[: -len(tail)], name[: -len(tail)]
            renamed = {
                wanted + one.removeprefix(given) for one in unexpected if one.startswith(given)
            }
            swapped = given and wanted and any(map(str.isdigit, f"{given}{wanted}".split(".")))
            if set(missing) <= renamed and not swapped:
                return given.removesuffix("."), wanted.removesuffix(".")
    return "", ""


def _of_more(unexpected: list[str], file: str) -> Cause:
    """Return why the weights hold more than the model."""
    if all(map(is_statistic, unexpected)):
        hint = "they are unused statistics: remove them, or load with strict=False"
        return Cause("statistics", hint)
    if all(is_measure(name.partition(".")[0]) for name in unexpected):
        hint = f"they belong to the training, not to the model: {extraction(file)}"
        return Cause("training", hint)
    hint = "they are of a larger model: use that model, or save the weights of this one"
    return Cause("larger-model", hint)


def _of_shapes(shapes: Mapping[str, tuple[list[int], list[int]]]) -> Cause | None:
    pairs = list(shapes.values())
    expected, given = pairs[0]
    if all(one == other[::-1] for one, other in pairs):
        hint = "the shapes are transposed: were they converted from another framework?"
        return Cause("transposed", hint)
    if all(one[1:] == other[1:] for one, other in pairs):
        hint = (
            f"another number of classes: the weights have {given[0]}, the model {expected[0]}; "
            "give the model's constructor the right default"
        )
        return Cause("classes", hint)
    if all(one[:1] == other[:1] and one[2:] == other[2:] for one, other in pairs):
        hint = (
            f"another number of input channels: the weights have {given[1]}, the model "
            f"{expected[1]}; give the model's constructor the right default"
        )
        return Cause("channels", hint)
    return None
