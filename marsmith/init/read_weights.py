"""The tensors of a trained model, and what its checkpoint says about it; nothing is executed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marsmith.core.errors import WeightsError
from marsmith.init.architectures import Shape
from marsmith.init.recognise import NOT_COMPARED, without_wrappers
from marsmith.weights.checkpoint import Checkpoint, read_checkpoint
from marsmith.weights.find_state_dict import choose, training_checkpoint
from marsmith.weights.tensors import Tensor

_CLASSES = ("classes", "class_names", "class_to_idx", "idx_to_class", "names", "labels")
_ARCHITECTURES = ("arch", "architecture", "model_name", "backbone")
_INSIDE = ("hyper_parameters", "meta", "args", "config")


@dataclass(frozen=True)
class Weights:
    """A model's tensors by their names without wrappers, and what stands beside them."""

    path: Path
    tensors: dict[str, Tensor]
    architecture: str  # as the checkpoint calls it; "" if it does not say
    classes: tuple[str, ...]  # as the checkpoint names them
    kind: str = ""  # what the file is, if it is a training checkpoint

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shapes of what is compared with architectures."""
        kept = {n: one for n, one in self.tensors.items() if not n.endswith(NOT_COMPARED)}
        return {name: one.shape for name, one in kept.items()}


def read_weights(path: Path, key: str | None = None) -> Weights:
    """Read a checkpoint's model; `key` chooses among several. Raises WeightsError."""
    checkpoint = read_checkpoint(path)
    _refuse(checkpoint)
    found = checkpoint.tensors if checkpoint.is_module else choose(checkpoint, key)[1]
    tensors = {
        without_wrappers(name): one for name, one in found.items() if isinstance(one, Tensor)
    }
    facts = [] if checkpoint.is_module else list(_facts(checkpoint.value))
    architecture = next((v for k, v in facts if k in _ARCHITECTURES and isinstance(v, str)), "")
    classes = next((c for k, v in facts if k in _CLASSES and (c := _names(v))), ())
    kind = "" if checkpoint.is_module else training_checkpoint(checkpoint)
    return Weights(path, tensors, architecture, classes, kind)


def _refuse(checkpoint: Checkpoint) -> None:
    path = checkpoint.path
    if checkpoint.hostile:
        raise WeightsError(
            f"{path} names code that would run, and do harm, when it is loaded",
            f"do not load it; see what it names: marsmith weights inspect {path}",
            code="hostile-weights",
        )
    if checkpoint.kind == "TorchScript":
        raise WeightsError(
            f"{path} is TorchScript: a program, which needs no model file",
            "start with --template, and set serialized_file to it in archives.toml, without "
            "model_file",
            code="torchscript-weights",
        )


def _facts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the plain values at the top of a checkpoint, and in its usual tables."""
    if not isinstance(value, dict):
        return
    yield from value.items()
    for table in _INSIDE:
        if isinstance(value.get(table), dict):
            yield from value[table].items()


def _names(value: Any) -> tuple[str, ...]:
    """Return class names in order: of a list, of {name: index} or of {index: name}."""
    if isinstance(value, dict):
        pairs = [(k, v) if isinstance(k, int) else (v, k) for k, v in value.items()]
        if sorted(str(p[0]) for p in pairs) != sorted(map(str, range(len(pairs)))):
            return ()
        value = [name for _, name in sorted(pairs, key=lambda pair: int(pair[0]))]
    if isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value):
        return tuple(value)
    return ()
