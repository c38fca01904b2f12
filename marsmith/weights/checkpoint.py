"""Files of weights: PyTorch's zip, its legacy pickle, TorchScript, safetensors. Nothing runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from marsmith.core.errors import WeightsError
from marsmith.weights.pickle_names import is_hostile
from marsmith.weights.pickle_stand_ins import Inert
from marsmith.weights.safetensors import is_safetensors, read_safetensors
from marsmith.weights.tensors import Tensor
from marsmith.weights.torch_legacy import is_torch_legacy, read_torch_legacy
from marsmith.weights.torch_zip import read_torch_zip

_ZIP_START = b"PK"
_TAR = slice(257, 262)
_DEEPEST = 60  # values within values
_MOST = 2_000_000  # values looked at; a file can hold itself in itself


@dataclass(frozen=True)
class Checkpoint:
    """What a file of weights holds: dicts, lists, numbers, texts, tensors, and Inert objects."""

    path: Path
    kind: str
    value: Any
    foreign: frozenset[str] = field(default_factory=frozenset)  # code that loading would import

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """All tensors by their dotted place in the file."""
        return dict(tensors_within(self.value))

    @property
    def hostile(self) -> list[str]:
        """Code among the foreign that is there to attack whoever loads the file."""
        return [] if self.kind == "TorchScript" else sorted(filter(is_hostile, self.foreign))

    @property
    def is_module(self) -> bool:
        """Whether it is a module with its code, not a state_dict or a dict that holds some."""
        return self.kind == "TorchScript" or is_module(self.value)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a file's structure; the values of its tensors stay in the file until they are asked for.

    Raises WeightsError for what is missing, cut off, damaged or nothing of the kind.
    """
    try:
        with path.open("rb") as file:
            start = file.read(512)
            file.seek(0)
            if not start:
                hint = "save the weights again: torch.save(model.state_dict(), FILE)"
                raise WeightsError("the file is empty", hint)
            if start.startswith(_ZIP_START):
                kind, value, foreign = read_torch_zip(path, file)
                return Checkpoint(path, kind, value, frozenset(foreign))
            if is_torch_legacy(start[:32]):
                value, foreign = read_torch_legacy(path, file)
                return Checkpoint(path, "PyTorch legacy pickle", value, frozenset(foreign))
            if is_safetensors(start):
                return Checkpoint(path, "safetensors", read_safetensors(path, file))
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read: {error.strerror or error}", "name a file of weights"
        ) from error
    if start[_TAR] == b"ustar":
        raise WeightsError(
            "the file is a tar: an archive of files, or what torch.save wrote before 2017",
            "unpack it; or if PyTorch wrote it and you trust it, since this runs code in it: "
            f"torch.save(torch.load({str(path)!r}, weights_only=False), 'weights.pth')",
        )
    raise WeightsError(
        "the file is nothing that torch.save wrote", "name the file of the state_dict"
    )


def is_module(value: Any) -> bool:
    """Tell a torch.nn.Module, or its kind, by what it has."""
    return isinstance(value, Inert) and isinstance(value.state, dict) and "_modules" in value.state


def text_of(key: Any) -> str:
    """Return a dict's key as a part of a dotted place."""
    return str(key) if isinstance(key, (str, int, float)) else type(key).__name__


def parts_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what is in a value with its name; a module's as its state_dict would have them."""
    if isinstance(value, Inert):
        parts = value.items or value.state
        if is_module(value):
            groups = [value.state.get(one) for one in ("_parameters", "_buffers", "_modules")]
            parts = {
                key: one
                for group in groups
                if isinstance(group, dict)
                for key, one in group.items()
            }
        value = parts
    if isinstance(value, dict):
        yield from ((text_of(key), one) for key, one in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((str(place), one) for place, one in enumerate(value))


def tensors_within(value: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield all tensors in a value with their dotted places. Raises WeightsError."""
    left = _MOST
    waiting = [("", value, 0)]
    while waiting:
        place, one, depth = waiting.pop()
        if isinstance(one, Tensor):
            yield place, one
            continue
        if depth > _DEEPEST or not isinstance(one, (Inert, dict, list, tuple)):
            continue
        parts = []
        for name, part in parts_of(one):
            left -= 1
            if left < 0:
                raise WeightsError(
                    "the file holds too many values to look at", "save the state_dict alone"
                )
            if isinstance(part, (Tensor, Inert, dict, list, tuple)):
                parts.append((f"{place}.{name}" if place else name, part, depth + 1))
        waiting += reversed(parts)
