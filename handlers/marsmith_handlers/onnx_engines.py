"""The engines that need no PyTorch: ONNX Runtime and OpenVINO, on the CPU."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from marsmith_handlers.arrays import Array
from marsmith_handlers.engine import Engine

_INSTALL = {"onnxruntime": "pip install onnxruntime", "openvino": "pip install openvino"}


class OnnxRuntime(Engine):
    """An ONNX model with one input."""

    def __init__(self, path: Path, threads: int) -> None:
        runtime = _installed("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that spin while they wait take the cores from the other workers.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = runtime.InferenceSession(path, options, ["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        self._names = [output.name for output in self.session.get_outputs()]

    def __call__(self, batch: Array | list[Array]) -> Any:
        """Compute a batch, or the one picture of a list."""
        values = self.session.run(None, {self.input: _as_batch(batch)})
        return values[0] if len(values) == 1 else dict(zip(self._names, values, strict=True))


class OpenVino(Engine):
    """An OpenVINO model (.xml with its .bin beside it, or .onnx) with one input."""

    def __init__(self, path: Path, threads: int, dtype: str) -> None:
        # OpenVINO reports each import to its makers, unless what does so cannot be imported.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        openvino = _installed("openvino")
        config = {
            "INFERENCE_NUM_THREADS": threads,
            # On CPUs that have it bfloat16 is its default, and not what eager answers.
            "INFERENCE_PRECISION_HINT": "bf16" if dtype == "bfloat16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # or all workers would sit on the same cores
        }
        self.compiled = openvino.Core().compile_model(path, "CPU", config)

    def __call__(self, batch: Array | list[Array]) -> Any:
        """Compute a batch, or the one picture of a list."""
        # Without share_outputs the output is a copy, which the next batch does not overwrite.
        outputs = self.compiled(_as_batch(batch), share_inputs=True)
        if len(outputs) == 1:
            return outputs[0]
        return {port.any_name: value for port, value in outputs.items()}


def load(engine: str, path: Path, dtype: str, threads: int) -> Engine:
    """Load a model's file with one of these engines."""
    return OnnxRuntime(path, threads) if engine == "onnxruntime" else OpenVino(path, threads, dtype)


def _as_batch(batch: Array | list[Array]) -> Array:
    return np.ascontiguousarray(np.stack(batch) if isinstance(batch, list) else batch)


def _installed(engine: str) -> Any:
    try:
        return importlib.import_module(engine)
    except ModuleNotFoundError as error:
        if error.name != engine:
            raise  # it is installed, and lacks something itself
        raise ValueError(f"engine {engine!r} is not installed: {_INSTALL[engine]}") from error
