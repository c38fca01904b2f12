"""The engines beside eager PyTorch: each loads a file and returns what is called as a module is."""

from __future__ import annotations

import importlib
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from model_loader import InBFloat16, Model


def torchscript(path: Path, dtype: str, device: torch.device) -> Model:
    """Load TorchScript."""
    script: Any = torch.jit.load(str(path), device)  # type: ignore[no-untyped-call]
    return _fused(script.eval(), dtype)


def scripted(network: torch.nn.Module, dtype: str) -> Model:
    """Turn a network into TorchScript, whichever ways its data make it go."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # still the fastest that needs no more
        return _fused(torch.jit.script(network), dtype)


def _fused(script: Any, dtype: str) -> Model:
    """Make the weights constants and fuse operators."""
    if dtype == "bfloat16":
        return InBFloat16(torch.jit.freeze(script.to(torch.bfloat16)))
    frozen = torch.jit.freeze(script)
    module: torch.nn.Module = torch.jit.optimize_for_inference(frozen)
    return module


def compiled(network: torch.nn.Module) -> Model:
    """Compile a network when it is called first, and once more when the batch grows.

    `freezing` makes the weights constants, which inductor packs for oneDNN; nobody changes them.
    """
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise ValueError("engine 'compile' needs a C++ compiler, and there is none here")
    call: Model = torch.compile(network, options={"freezing": True})
    return call


def aotinductor(path: Path, _dtype: str, device: torch.device) -> Model:
    """Load a network that was compiled at export; the dtype was chosen there."""
    from torch._inductor import aoti_load_package

    package: Any = aoti_load_package(str(path))
    return lambda batch: package(batch.to(device)).float()


class OnnxRuntime:
    """An ONNX model with one input and one output."""

    def __init__(self, path: Path, dtype: str, device: torch.device) -> None:
        runtime = _installed("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Threads that spin while they wait take the cores from the other workers.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = runtime.InferenceSession(path, options, ["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        (output,) = self.session.run(None, {self.input: batch.cpu().numpy()})
        return torch.from_numpy(output)


class OpenVino:
    """An OpenVINO model (.xml with its .bin beside it, or .onnx) with one input and one output."""

    def __init__(self, path: Path, dtype: str, device: torch.device) -> None:
        # OpenVINO reports each import to its makers, unless what does so cannot be imported.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        openvino = _installed("openvino")
        config = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            # On CPUs that have it bfloat16 is its default, and not what eager answers.
            "INFERENCE_PRECISION_HINT": "bf16" if dtype == "bfloat16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # or all workers would sit on the same cores
        }
        self.compiled = openvino.Core().compile_model(path, "CPU", config)

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        # Without share_outputs the output is a copy, which the next batch does not overwrite.
        return torch.from_numpy(self.compiled(batch.cpu().numpy(), share_inputs=True)[0])


LOADERS: dict[str, Callable[[Path, str, torch.device], Model]] = {
    "torchscript": torchscript,
    "aotinductor": aotinductor,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
}


def _installed(engine: str) -> Any:
    try:
        return importlib.import_module(engine)
    except ImportError as error:
        raise ValueError(f"engine {engine!r} is not installed: pip install {engine}") from error
