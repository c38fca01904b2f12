"""The engines of PyTorch: eager, compile, torchscript and aotinductor."""

from __future__ import annotations

import importlib
import inspect
import logging
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from marsmith_handlers.arrays import Array
from marsmith_handlers.engine import Engine

logger = logging.getLogger(__name__)

_NO_CUDA = "install PyTorch for CUDA and the card's driver, or set deviceType = 'cpu'"


class TorchEngine(Engine):
    """A network that PyTorch computes on the CPU; cuda_engine.py has the one for GPUs."""

    def __init__(self, network: Callable[..., Any], *, channels_last: bool) -> None:
        """`channels_last` is how pictures lie in memory."""
        self.network = network
        self._channels_last = channels_last

    def __call__(self, batch: Array | list[Array]) -> Any:
        """Compute without gradients."""
        with torch.inference_mode():
            if isinstance(batch, list):
                given: Any = [as_tensor(one) for one in batch]
            else:
                tensor = as_tensor(batch)
                given = tensor.contiguous(memory_format=self.layout_of(tensor.dim()))
            return mapped(self.network(given), as_array)

    def empty(self, shape: tuple[int, ...]) -> Array:
        """Return memory that PyTorch takes as it is."""
        array: Array = torch.empty(shape, memory_format=self.layout_of(len(shape))).numpy()
        return array

    def layout_of(self, dimensions: int) -> torch.memory_format:
        """Return how a batch with so many dimensions lies in memory."""
        last = self._channels_last and dimensions == 4
        return torch.channels_last if last else torch.contiguous_format


class InHalf(torch.nn.Module):
    """A network that computes in bfloat16 or float16, float32 outside."""

    def __init__(self, network: torch.nn.Module, dtype: torch.dtype) -> None:
        """`network` has weights of that type."""
        super().__init__()
        self.network, self.dtype = network, dtype
        self.training = False

    def forward(self, batch: Any) -> Any:
        """Return the network's outputs as float32."""
        return mapped(self.network(mapped(batch, self._as_half)), _as_float32)

    def _as_half(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.dtype)


def device_of(gpu: int | None, *, needed: bool) -> torch.device:
    """Return a worker's GPU, or the CPU.

    Raises ValueError if a GPU that is `needed` cannot be used.
    """
    if gpu is None:
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if gpu < count:
        torch.cuda.set_device(gpu)
        return torch.device("cuda", gpu)
    message = f"this worker has GPU {gpu}, and PyTorch can use {count or 'none'}"
    if needed:
        hint = "look at deviceIds and CUDA_VISIBLE_DEVICES" if count else _NO_CUDA
        raise ValueError(f"{message}: {hint}")
    logger.warning("%s: the model is computed on the CPU", message)
    return torch.device("cpu")


def load(
    engine: str,
    model: dict[str, Any],
    weights: Path,
    dtype: str,
    device: torch.device,
    threads: int,
    channels_last: bool,
) -> TorchEngine:
    """Load the model that a manifest's "model" names, with one of these engines."""
    torch.set_num_threads(threads)
    on_gpu = device.type == "cuda"
    if dtype == "float16" and not on_gpu:
        raise ValueError("dtype 'float16' needs a GPU: take bfloat16 for the CPU")
    network: Callable[..., Any]
    if engine == "aotinductor":
        from torch._inductor import aoti_load_package

        network = aoti_load_package(str(weights))
        # Its code has the layout of its example fixed, and does not look at the batch's.
        channels_last = False
    elif engine == "torchscript":
        network = _torchscript(model, weights, dtype, device)
    else:
        whole = _network(model, weights).to(device)
        network = whole if dtype == "float32" else in_half(whole, dtype)
        network = compiled(network) if engine == "compile" else network
    if not on_gpu:
        return TorchEngine(network, channels_last=channels_last)
    from marsmith_handlers.cuda_engine import CudaEngine

    return CudaEngine(network, device, channels_last=channels_last, graphs=engine == "eager")


def in_half(network: torch.nn.Module, dtype: str) -> InHalf:
    """Turn a network's weights into bfloat16 or float16."""
    half: torch.dtype = getattr(torch, dtype)
    return InHalf(network.to(half), half)


def compiled(network: torch.nn.Module) -> Callable[..., Any]:
    """Compile a network when it is called first, and once more when the batch grows.

    `freezing` makes the weights constants, which inductor packs for oneDNN; they never change.
    """
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise ValueError("engine 'compile' needs a C++ compiler, and there is none here")
    return torch.compile(network, options={"freezing": True})


def _torchscript(
    model: dict[str, Any], weights: Path, dtype: str, device: torch.device
) -> torch.nn.Module:
    """Load TorchScript or make it of a class; its weights become constants, operators fused."""
    script: Any
    if "modelFile" not in model:
        script = torch.jit.load(str(weights), device)  # type: ignore[no-untyped-call]
    else:
        with warnings.catch_warnings():
            # TorchScript is deprecated, and still the fastest engine that needs nothing more.
            warnings.simplefilter("ignore", DeprecationWarning)
            script = torch.jit.script(_network(model, weights).to(device))
    script = script.eval()
    if dtype != "float32":
        half: torch.dtype = getattr(torch, dtype)
        return InHalf(torch.jit.freeze(script.to(half)), half)
    fused: torch.nn.Module = torch.jit.optimize_for_inference(torch.jit.freeze(script))
    return fused


def _network(model: dict[str, Any], weights: Path) -> torch.nn.Module:
    """Build the network of a model file, or read a torch.export program."""
    if "modelFile" not in model:
        program: torch.nn.Module = torch.export.load(weights).module()
        return program
    network = _only_class(Path(model["modelFile"]).stem)()
    # Memory-mapped and assigned, the weights' pages are shared by all workers.
    network.load_state_dict(_state_dict(weights), assign=True)
    return network.float().eval()  # a state_dict may be of another type


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


def mapped(value: Any, change: Callable[[torch.Tensor], Any]) -> Any:
    """Change each tensor of a model's input or output, which may be a dict, a list or a tuple."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: mapped(one, change) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [mapped(one, change) for one in value]
    return value


def as_tensor(array: Array) -> torch.Tensor:
    """Share an array's memory, unless it is a view that runs backwards, which tensors cannot."""
    return torch.from_numpy(array.copy() if min(array.strides, default=0) < 0 else array)


def as_array(tensor: torch.Tensor) -> Any:
    return _as_float32(tensor).cpu().numpy()


def _as_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Return half precision as float32, for which NumPy has a type; indices stay integers."""
    half = tensor.dtype in (torch.bfloat16, torch.float16)
    return tensor.float() if half else tensor
