"""Write a model in a format; imported by export_model.py in its own process, with torch."""

from __future__ import annotations

import copy
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
import torchvision

_TORCH = (Path(torch.__file__).parent, Path(torchvision.__file__).parent)
_CALIBRATION_BYTES = 1 << 29  # of inputs that are kept in memory


class ExportError(Exception):
    """The model cannot be written in that format: why, and what to do about it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def write_format(
    model: torch.nn.Module,
    inputs: list[torch.Tensor],
    kind: str,
    dtype: str,
    path: Path,
    calibration: list[torch.Tensor],
) -> None:
    """Write the model so that the batch may have any size, and also what varies over samples."""
    # A batch of 1 would be made constant, and eager handlers' channels_last be kept.
    example = torch.cat([inputs[0][:1], inputs[0][:1] * 0.5]).contiguous()
    if kind == "torchscript-trace":
        _trace(model, example, path)
    elif kind == "torchscript-script":
        torch.jit.save(torch.jit.script(model), path)
    elif kind == "aotinductor":
        _compile(_program(_in_dtype(model, dtype), example, inputs), path)
    else:
        program = _program(model, example, inputs)
        if kind == "torch-export":
            torch.export.save(program, path)
        elif kind == "onnx":
            _write_onnx(program, path)
            if dtype == "int8":
                _quantise_onnx(path, calibration)
        else:
            _write_openvino(program, path, calibration if dtype == "int8" else [])


def enough(inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return as many inputs, spread over all, as may be kept in memory."""
    size = sum(tensor.nbytes for tensor in inputs)
    return inputs[:: -(-size // _CALIBRATION_BYTES)] if size else inputs


def _in_dtype(model: torch.nn.Module, dtype: str) -> torch.nn.Module:
    """Return a copy of a network that computes in another dtype, float32 outside."""
    copied = copy.deepcopy(model).eval()
    if dtype == "float32":
        return copied
    # The archive's own module: imported late, when its folder is where modules are looked for.
    from marsmith_handlers.torch_engines import in_half

    half: torch.nn.Module = in_half(copied, dtype)
    return half


def _trace(model: torch.nn.Module, example: torch.Tensor, path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        traced = torch.jit.trace(model, example, check_trace=False)  # type: ignore[no-untyped-call]
    for warning in caught:
        # A trace keeps the way that one input took; whatever the model decides by its data is lost.
        # What torch's own layers decide by are shapes, and those are compared below.
        own = not any(Path(warning.filename).is_relative_to(folder) for folder in _TORCH)
        if own and warning.category.__name__ == "TracerWarning":
            where = f"{Path(warning.filename).name}:{warning.lineno}"
            reason = str(warning.message).partition(". ")[0]
            raise ExportError(
                f"a trace would go wrong at {where}: {reason}",
                "the model decides by its data: use --format torchscript-script",
            )
    torch.jit.save(traced, path)


def _program(
    model: torch.nn.Module, example: torch.Tensor, inputs: list[torch.Tensor]
) -> torch.export.ExportedProgram:
    varying = [
        axis
        for axis in range(1, example.dim())
        if len({tensor.shape[axis] for tensor in inputs}) > 1
    ]
    shapes = (dict.fromkeys((0, *varying), torch.export.Dim.AUTO),)
    program = torch.export.export(model, (example,), dynamic_shapes=shapes)
    for node in program.graph.nodes:
        # Where each line of the model's code stood, in a temporary folder: never the same bytes.
        node.meta.pop("stack_trace", None)
    return program


def _compile(program: torch.export.ExportedProgram, path: Path) -> None:
    """Compile for this machine's kind of CPU; how many threads compute is asked when it runs."""
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise ExportError(
            "aotinductor needs a C++ compiler, and there is none here",
            "apt-get install g++; or another format",
        )
    from torch._inductor import aoti_compile_and_package

    # Constants are folded and packed for oneDNN; the weights of an archive never change.
    options = {"freezing": True, "cpp.dynamic_threads": True}
    # Headers that are compiled once serve many compilations; here is one, and they take longer.
    options["aot_inductor.precompile_headers"] = False
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        aoti_compile_and_package(program, package_path=str(path), inductor_configs=options)


def _write_onnx(program: torch.export.ExportedProgram, path: Path) -> None:
    written = torch.onnx.export(program, dynamo=True, verbose=False)
    if written is None:
        raise ExportError("torch.onnx.export gave no model", "try another format")
    for node in written.model.graph.all_nodes():
        node.metadata_props.clear()  # places in the model's code, which was in a temporary folder
    written.save(path, external_data=False)


def _quantise_onnx(path: Path, calibration: list[torch.Tensor]) -> None:
    """Let weights and activations be int8, with scales seen on the calibration's inputs."""
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name = onnx.load(path, load_external_data=False).graph.input[0].name

    class Inputs(quantization.CalibrationDataReader):  # type: ignore[misc]
        rows = iter([{name: tensor.numpy()} for tensor in calibration])

        def get_next(self) -> Any:
            return next(self.rows, None)

    plain = path.with_name(f"float32-{path.name}")
    quant_pre_process(str(path), str(plain), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(plain),
        str(path),
        Inputs(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    plain.unlink()


def _write_openvino(
    program: torch.export.ExportedProgram, path: Path, calibration: list[torch.Tensor]
) -> None:
    # OpenVINO reports each use to its makers, unless what does so cannot be imported.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        onnx_file = Path(folder) / "model.onnx"  # OpenVINO writes the name down
        _write_onnx(program, onnx_file)
        model = openvino.convert_model(onnx_file)
    if calibration:
        import nncf

        model = nncf.quantize(
            model,
            nncf.Dataset([tensor.numpy() for tensor in calibration]),
            # Weights around 0, activations not: swish and the like are never far below it.
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(calibration),
        )
    openvino.save_model(model, path, compress_to_fp16=False)
