"""The engines of PyTorch: eager, compile, torchscript and aotinductor."""

from __future__ import annotations

import importlib
import inspect
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from marsmith_handlers.arrays import Array
from marsmith_handlers.engine import Engine


class TorchEngine(Engine):
    """A network that PyTorch computes, on a GPU if there is one for this worker."""

    def __init__(
        self, network: Callable[..., Any], device: torch.device, *, channels_last: bool
    ) -> None:
        """`network` is already on the `device`."""
        self.network, self.device = network, device
        self._channels_last = channels_last

    def __call__(self, batch: Array | list[Array]) -> Any:
        """Compute without gradients."""
        with torch.inference_mode():
            if isinstance(batch, list):
                given: Any = [_as_tensor(one).to(self.device) for one in batch]
            else:
                tensor = _as_tensor(batch).to(self.device, non_blocking=True)
                given = tensor.contiguous(memory_format=self._layout_of(tensor.dim()))
            return _mapped(self.network(given), _as_array)

    def empty(self, shape: tuple[int, ...]) -> Array:
        """Return memory that PyTorch takes as it is; a GPU fetches by itself from pinned memory."""
        pinned, layout = self.device.type == "cuda", self._layout_of(len(shape))
        array: Array = torch.empty(shape, pin_memory=pinned, memory_format=layout).numpy()
        return array

    def _layout_of(self, dimensions: int) -> torch.memory_format:
        last = self._channels_last and dimensions == 4
        return torch.channels_last if last else torch.contiguous_format


class InBFloat16(torch.nn.Module):
    """A network that computes in bfloat16, float32 outside."""

    def __init__(self, network: torch.nn.Module) -> None:
        """`network` has bfloat16 weights."""
        super().__init__()
        self.network = network
        self.training = False

    def forward(self, batch: Any) -> Any:
        """Return the network's outputs as float32."""
        return _mapped(self.network(_mapped(batch, _as_bfloat16)), _as_float32)


def load(
    engine: str,
    model: dict[str, Any],
    weights: Path,
    dtype: str,
    gpu: int | None,
    threads: int,
    channels_last: bool,
) -> TorchEngine:
    """Load the model that a manifest's "model" names, with one of these engines."""
    torch.set_num_threads(threads)
    usable = gpu is not None and torch.cuda.is_available()
    device = torch.device(f"cuda:{gpu}" if usable else "cpu")
    if engine == "aotinductor":
        from torch._inductor import aoti_load_package

        # Its code has the layout of its example fixed, and does not look at the batch's.
        return TorchEngine(aoti_load_package(str(weights)), device, channels_last=False)
    network: Callable[..., Any]
    if engine == "torchscript":
        network = _torchscript(model, weights, dtype, device)
    else:
        network = _network(model, weights).to(device)
        network = network if dtype == "float32" else InBFloat16(network.to(torch.bfloat16))
        network = compiled(network) if engine == "compile" else network
    return TorchEngine(network, device, channels_last=channels_last)


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
    if dtype == "bfloat16":
        return InBFloat16(torch.jit.freeze(script.to(torch.bfloat16)))
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


def _mapped(value: Any, change: Callable[[torch.Tensor], Any]) -> Any:
    """Change each tensor of a model's input or output, which may be a dict, a list or a tuple."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _mapped(one, change) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mapped(one, change) for one in value]
    return value


def _as_tensor(array: Array) -> torch.Tensor:
    """Share an array's memory, unless it is a view that runs backwards, which tensors cannot."""
    return torch.from_numpy(array.copy() if min(array.strides, default=0) < 0 else array)


def _as_array(tensor: torch.Tensor) -> Any:
    return _as_float32(tensor).cpu().numpy()


def _as_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Return half precision as float32, for which NumPy has a type; indices stay integers."""
    half = tensor.dtype in (torch.bfloat16, torch.float16)
    return tensor.float() if half else tensor


def _as_bfloat16(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.bfloat16)
