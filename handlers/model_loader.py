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

CLASS = "a model_file"  # and its state_dict
# Engine → the dtypes that it computes in, and the files that it takes.
ENGINES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "eager": (("float32", "bfloat16"), (CLASS, ".pt2")),
    "compile": (("float32", "bfloat16"), (CLASS,)),
    "torchscript": (("float32", "bfloat16"), (".pt", ".pth")),
    "aotinductor": (("float32", "bfloat16"), (".pt2",)),
    "onnxruntime": (("float32", "int8"), (".onnx",)),
    "openvino": (("float32", "bfloat16", "int8"), (".xml", ".onnx")),
}


def load_model(
    model_dir: Path,
    model: dict[str, Any],
    device: torch.device,
    engine: str = "auto",
    dtype: str = "float32",
) -> Model:
    """Load the model that a manifest's "model" names, ready to infer on `device`.

    It takes float32 [N, C, H, W] and gives float32, whatever `dtype` it computes in. With engine
    "auto" the file decides. ONNX Runtime and OpenVINO compute on the CPU.
    """
    weights = model_dir / model["serializedFile"]
    has_class = "modelFile" in model
    if engine == "auto":
        engine = default_engine(weights, has_class)
    _refuse_impossible(engine, dtype, weights, has_class)
    if engine in ("eager", "compile"):
        network = _network(model, weights)
        if engine == "compile":
            import model_engines  # which an eager model does without

            return model_engines.compiled(_cast(network, dtype, device))
        return _cast(network, dtype, device)
    import model_engines

    return model_engines.LOADERS[engine](weights, dtype, device)


def default_engine(weights: Path, has_class: bool) -> str:
    """Return the engine for a file."""
    if has_class:
        return "eager"
    if weights.suffix == ".pt2":
        with zipfile.ZipFile(weights) as file:
            machine_code = any(name.endswith(".so") for name in file.namelist())
        return "aotinductor" if machine_code else "eager"
    return {".onnx": "onnxruntime", ".xml": "openvino"}.get(weights.suffix, "torchscript")


def _refuse_impossible(engine: str, dtype: str, weights: Path, has_class: bool) -> None:
    if engine not in ENGINES:
        known = ", ".join(["auto", *ENGINES])
        raise ValueError(f"there is no engine {engine!r}: take one of {known}")
    dtypes, files = ENGINES[engine]
    if dtype not in dtypes:
        raise ValueError(
            f"engine {engine!r} has no {dtype!r}: it computes in {' or '.join(dtypes)}"
        )
    given = CLASS if has_class else weights.suffix
    if given not in files:
        raise ValueError(
            f"engine {engine!r} does not run {given}: it takes {' or '.join(files)}, "
            "which marsmith export writes"
        )


def _network(model: dict[str, Any], weights: Path) -> torch.nn.Module:
    """Build the network of a model file, or read a torch.export program."""
    if "modelFile" not in model:
        program: torch.nn.Module = torch.export.load(weights).module()
        return program
    network = _only_class(Path(model["modelFile"]).stem)()
    # Memory-mapped and assigned, the weights' pages are shared by all workers.
    network.load_state_dict(_state_dict(weights), assign=True)
    return network.eval()


def _cast(network: torch.nn.Module, dtype: str, device: torch.device) -> torch.nn.Module:
    network = network.to(device)
    return network if dtype == "float32" else InBFloat16(network.to(torch.bfloat16))


class InBFloat16(torch.nn.Module):
    """A network that computes in bfloat16, float32 outside."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network
        self.training = False

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the network's output as float32."""
        output: torch.Tensor = self.network(batch.to(torch.bfloat16))
        return output.float()


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
