"""The model of an archive, in whichever format; nothing is unpickled but tensors."""

from __future__ import annotations

import importlib
import inspect
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Model = Callable[[torch.Tensor], torch.Tensor]


def load_model(model_dir: Path, model: dict[str, Any], device: torch.device) -> Model:
    """Load the model that a manifest's "model" names, ready to infer on `device`.

    With a "modelFile": its one class with a state_dict, memory-mapped, so that workers share the
    pages. Without: TorchScript, a torch.export program (.pt2) or ONNX (.onnx, on the CPU).
    """
    weights = model_dir / model["serializedFile"]
    if "modelFile" in model:
        network = _only_class(Path(model["modelFile"]).stem)()
        network.load_state_dict(_state_dict(weights), assign=True)
        return network.eval().to(device)
    if weights.suffix == ".onnx":
        return _OnnxModel(weights)
    if weights.suffix == ".pt2":
        return torch.export.load(weights).module().to(device)
    script: torch.nn.Module = torch.jit.load(str(weights))  # type: ignore[no-untyped-call]
    return script.eval().to(device)


def _state_dict(weights: Path) -> dict[str, torch.Tensor]:
    if weights.suffix == ".safetensors":
        from safetensors.torch import load_file  # only those who have such weights need it

        return load_file(weights)
    # Files written before PyTorch 1.6 are no zip and cannot be mapped.
    mapped = zipfile.is_zipfile(weights)
    state_dict: dict[str, torch.Tensor] = torch.load(
        weights, map_location="cpu", weights_only=True, mmap=mapped
    )
    return state_dict


def _only_class(module_name: str) -> type[torch.nn.Module]:
    module = importlib.import_module(module_name)
    members: list[tuple[str, Any]] = inspect.getmembers(module, inspect.isclass)
    classes = [member for _, member in members if member.__module__ == module.__name__]
    if len(classes) != 1:
        raise ValueError(f"{module_name}.py must define exactly one class, not {len(classes)}")
    only: type[torch.nn.Module] = classes[0]
    return only


class _OnnxModel:
    """An ONNX model with one input and one output, called as a module is."""

    def __init__(self, path: Path) -> None:
        import onnxruntime  # only archives of that format need it

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        (output,) = self.session.run(None, {self.input: batch.numpy()})
        return torch.from_numpy(output)
