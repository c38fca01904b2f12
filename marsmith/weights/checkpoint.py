"""Files of weights: PyTorch's zip, its legacy pickle, TorchScript, safetensors. No code runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from marsmith.core.errors import WeightsError
from marsmith.weights.pickle_names import is_hostile
from marsmith.weights.pickle_stand_ins import Inert
from marsmith.weights.safetensors import is_safetensors, read_safetensors
from marsmith.weights.tensors import Tensor
from marsmith.weights.torch_legacy import is_torch_legacy, read_torch_legacy
from marsmith.weights.torch_zip import read_torch_zip

SAVE_STATE_DICT = "save the state_dict alone: torch.save(model.state_dict(), FILE)"
_ZIP_START = b"PK"
_TAR = slice(257, 262)
_DEEPEST = 60  # values within values
_MOST = 1_000_000  # values that are visited; a value can contain itself


@dataclass(frozen=True)
class Checkpoint:
    """A file's content: dicts, lists, numbers, strings, tensors, and Inert objects for all else."""

    path: Path
    kind: str
    value: Any
    foreign: frozenset[str] = field(default_factory=frozenset)  # code that loading would import

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """All tensors by their dotted path in the file."""
        return dict(tensors_within(self.value))

    @property
    def hostile(self) -> list[str]:
        """The names in `foreign` that only an attack has a use for."""
        return [] if self.kind == "TorchScript" else sorted(filter(is_hostile, self.foreign))

    @property
    def is_module(self) -> bool:
        """Whether it is a whole module, in contrast to state_dicts."""
        return self.kind == "TorchScript" or is_module(self.value)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a file's structure; the values of its tensors are read later, when they are needed.

    Raises WeightsError if the file is missing, cut off, damaged or of another kind.
    """
    try:
        with path.open("rb") as file:
            start = file.read(512)
            file.seek(0)
            return _read(path, file, start)
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read: {error.strerror or error}",
            "name a file of weights that exists and that you may read",
            code="weights-unreadable",
        ) from error


def _read(path: Path, file: BinaryIO, start: bytes) -> Checkpoint:
    if not start:
        hint = "save the weights again: torch.save(model.state_dict(), FILE)"
        raise WeightsError("the file is empty", hint, code="weights-empty")
    if start.startswith(_ZIP_START):
        kind, value, foreign = read_torch_zip(path, file)
        return Checkpoint(path, kind, value, frozenset(foreign))
    if is_torch_legacy(start[:32]):
        value, foreign = read_torch_legacy(path, file)
        return Checkpoint(path, "PyTorch legacy pickle", value, frozenset(foreign))
    if is_safetensors(start):
        return Checkpoint(path, "safetensors", read_safetensors(path, file))
    if start[_TAR] == b"ustar":
        raise WeightsError(
            "the file is a tar: an archive of files, or what torch.save wrote before 2017",
            "unpack it; or if PyTorch wrote it and you trust it, since this runs code from it: "
            f"torch.save(torch.load({str(path)!r}, weights_only=False), 'weights.pth')",
            code="weights-tar",
        )
    raise WeightsError(
        "the file was not written by torch.save",
        "name the file that holds the state_dict",
        code="weights-format",
    )


def state_dict_problem(path: Path) -> WeightsError | None:
    """Return why a file cannot be an archive's state_dict, or None if it can.

    It is read as by read_checkpoint; a pickle of more than tensors is a problem too.
    """
    try:
        checkpoint = read_checkpoint(path)
    except WeightsError as error:
        return error
    if checkpoint.foreign and checkpoint.kind != "TorchScript":
        return WeightsError(
            f"the file pickles more than tensors: {', '.join(sorted(checkpoint.foreign))}",
            SAVE_STATE_DICT,
            code="weights-module",
        )
    return None


def is_module(value: Any) -> bool:
    """Return whether a value is a torch.nn.Module, judged by its attributes."""
    return isinstance(value, Inert) and isinstance(value.state, dict) and "_modules" in value.state


def text_of(key: Any) -> str:
    """Return a dict's key as a part of a dotted path."""
    return str(key) if isinstance(key, (str, int, float)) else type(key).__name__


def parts_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a value with their names; a module's are named as in its state_dict."""
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
    """Yield all tensors in a value with their dotted paths. Raises WeightsError."""
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
                    f"the file holds more than {_MOST:,} values",
                    SAVE_STATE_DICT,
                    code="weights-too-many-values",
                )
            if isinstance(part, (Tensor, Inert, dict, list, tuple)):
                parts.append((f"{place}.{name}" if place else name, part, depth + 1))
        waiting += reversed(parts)
