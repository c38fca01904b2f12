"""Read a trained model's file of any known format, without running code from it."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from marsmith.core.errors import WeightsError
from marsmith.weights.checkpoint import Checkpoint, read_checkpoint
from marsmith.weights.find_state_dict import choose
from marsmith.weights.onnx_graph import read_onnx
from marsmith.weights.pt2 import Program, is_exported_program, read_exported_program
from marsmith.weights.state_dict_names import is_training_state
from marsmith.weights.tensors import Tensor

# A file with one of these endings counts as weights even if the manifest does not name it.
ENDINGS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".pt2", ".onnx")


@dataclass(frozen=True)
class ModelFile:
    """What a file holds. Only an exported format, which has operators, has a `program`."""

    kind: str
    tensors: dict[str, Tensor]
    program: Program | None = None
    object_name: str = ""  # the class of a whole pickled module
    code: list[str] = field(default_factory=list)  # what loading would import
    hostile: list[str] = field(default_factory=list)


def read_model_file(path: Path) -> ModelFile:
    """Read a file's structure, but not the values of its tensors. Raises WeightsError."""
    if path.suffix == ".onnx":
        program = read_onnx(path)
        return ModelFile("ONNX", program.tensors, program)
    if _is_exported(path):
        with path.open("rb") as file:
            program = read_exported_program(path, file)
        return ModelFile("torch.export program", program.tensors, program)
    checkpoint = read_checkpoint(path)
    scripted = checkpoint.kind == "TorchScript"
    return ModelFile(
        checkpoint.kind,
        _state_dict(checkpoint),
        object_name=checkpoint.value.name if checkpoint.is_module else "",
        code=[] if scripted else sorted(checkpoint.foreign),
        hostile=checkpoint.hostile,
    )


def _is_exported(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return is_exported_program(archive.namelist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False  # read_checkpoint says what it is instead


def _state_dict(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the tensors of all models in a checkpoint, without those of an optimizer."""
    if not checkpoint.is_module:
        try:
            _, state = choose(checkpoint, None)
        except WeightsError:
            pass
        else:
            return {name: one for name, one in state.items() if isinstance(one, Tensor)}
    tensors = checkpoint.tensors
    models = {n: one for n, one in tensors.items() if not is_training_state(n.partition(".")[0])}
    return models or tensors
