"""Write an unpacked archive's model in another format, and measure how far it is from eager.

Run by marsmith/exporting.py as `python -I export_model.py JOB.json` with the archive's folder as
working directory; what it found goes to the job's "result". The handler is loaded by TorchServe's
own loader and answers the archive's samples, so the inputs are what the model really sees.
"""

from __future__ import annotations

import base64
import copy
import json
import math
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ts.context import RequestProcessor
from ts.model_loader import TsModelLoader

MANIFEST = Path("MAR-INF/MANIFEST.json")
Model = Callable[[torch.Tensor], torch.Tensor]


class ExportError(Exception):
    """The model cannot be written in that format: why, and what to do about it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def load_handler() -> tuple[Any, Callable[[list[bytes]], list[Any]]]:
    """Load the archive as a worker does; return its handler and a function that answers bodies."""
    manifest = json.loads(MANIFEST.read_text())
    service = TsModelLoader().load(
        manifest["model"]["modelName"], str(Path.cwd()), manifest["model"]["handler"], None, 1
    )
    handler = getattr(service._entry_point, "__self__", None)

    def answer(bodies: list[bytes]) -> list[Any]:
        service.context.request_ids = {i: f"sample-{i}" for i in range(len(bodies))}
        service.context.request_processor = [RequestProcessor({}) for _ in bodies]
        return list(service._entry_point([{"body": body} for body in bodies], service.context))

    return handler, answer


def seen_inputs(
    model: torch.nn.Module, answer: Callable[[list[bytes]], list[Any]], bodies: list[bytes]
) -> list[torch.Tensor]:
    """Answer the samples one by one, and return what the model got."""
    inputs: list[torch.Tensor] = []
    hook = model.register_forward_pre_hook(lambda _module, given: inputs.append(given[0].clone()))
    for body in bodies:
        answer([body])
    hook.remove()
    if not inputs:
        raise ExportError(
            "the handler answered its samples without calling its model",
            "only models that the handler keeps in `self.model` can be exported",
        )
    return inputs


def as_bytes(answer: Any) -> bytes:
    """Return an answer as TorchServe would send it."""
    if isinstance(answer, (bytes, bytearray)):
        return bytes(answer)
    return answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()


def export(model: torch.nn.Module, inputs: list[torch.Tensor], kind: str, path: Path) -> None:
    """Write the model so that the batch may have any size, and also what varies over samples."""
    example = torch.cat([inputs[0][:1], inputs[0][:1] * 0.5])  # a batch of 1 would be made constant
    if kind == "torchscript-trace":
        _trace(model, example, path)
    elif kind == "torchscript-script":
        script = torch.jit.script(model)
        torch.jit.save(script, path)
    else:
        varying = [
            axis
            for axis in range(1, example.dim())
            if len({tensor.shape[axis] for tensor in inputs}) > 1
        ]
        shapes = (dict.fromkeys((0, *varying), torch.export.Dim.AUTO),)
        program = torch.export.export(model, (example,), dynamic_shapes=shapes)
        if kind == "onnx":
            written = torch.onnx.export(program, dynamo=True, verbose=False)
            if written is None:
                raise ExportError("torch.onnx.export gave no model", "try another format")
            written.save(path, external_data=False)
        else:
            torch.export.save(program, path)


def _trace(model: torch.nn.Module, example: torch.Tensor, path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        traced = torch.jit.trace(model, example, check_trace=False)  # type: ignore[no-untyped-call]
    for warning in caught:
        # A trace keeps the way that one input took; whatever the model decides by its data is lost.
        # What torch's own layers decide by are shapes, and those are compared below.
        own = not {"torch", "torchvision"} & set(Path(warning.filename).parts)
        if own and warning.category.__name__ == "TracerWarning":
            where = f"{Path(warning.filename).name}:{warning.lineno}"
            reason = str(warning.message).partition(". ")[0]
            raise ExportError(
                f"a trace would go wrong at {where}: {reason}",
                "the model decides by its data: use --format torchscript-script",
            )
    torch.jit.save(traced, path)


def compare(
    eager: torch.nn.Module,
    exported: Model,
    inputs: list[torch.Tensor],
    batch: int,
    tolerance: float,
) -> dict[str, dict[str, float]]:
    """Return, on the samples' inputs and on random ones, the largest difference to eager.

    Three times: "absolute", "relative" to the largest value of the same output, at least 1, and
    "wrong", which is relative too but leaves out what eager itself is not sure of (instance norm
    of a plain picture blows up its rounding): ten times its own distance to float64.
    """
    torch.manual_seed(0)
    tests = {"samples": inputs}
    for count in (1, batch):
        noise = torch.randn(count, *inputs[0].shape[1:])
        # Light, dark, empty, loud, quiet: inputs on both sides of what a model may decide by.
        ways = [noise, noise.abs(), -noise.abs(), torch.zeros_like(noise), 10 * noise, 0.01 * noise]
        tests[f"random, batch {count}"] = ways
    worst = {name: {"absolute": 0.0, "relative": 0.0, "wrong": 0.0} for name in tests}
    with torch.inference_mode():
        for name, tensors in tests.items():
            for tensor in tensors:
                expected = eager(tensor)
                distance, scale = _distance(expected, exported(tensor))
                unsure = 0.0
                if distance > tolerance * scale:
                    exact = copy.deepcopy(eager).double()(tensor.double())
                    unsure = 10 * _distance(expected, exact)[0]
                found = {"absolute": distance, "relative": distance / scale}
                found["wrong"] = distance / scale if distance > unsure else 0.0
                worst[name] = {key: max(value, found[key]) for key, value in worst[name].items()}
    return worst


def _distance(expected: torch.Tensor, actual: torch.Tensor) -> tuple[float, float]:
    """Return the largest difference of two outputs, and the largest value, at least 1."""
    if expected.shape != actual.shape:
        raise ExportError(
            f"the output is {tuple(actual.shape)}, eager's is {tuple(expected.shape)}",
            "the model's shapes depend on more than its input's: try another format",
        )
    distance = float((expected.double() - actual.double()).abs().max())
    scale = max(1.0, float(expected.double().abs().max()))
    return (math.inf if math.isnan(distance) else distance), scale


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Do the job; return what it found, or {"error", "hint"}."""
    sys.path.insert(0, str(Path.cwd()))
    handler, answer = load_handler()
    model = getattr(handler, "model", None)
    if not isinstance(model, torch.nn.Module):
        raise ExportError(
            "the handler has no model that PyTorch can export",
            "keep the nn.Module in `self.model`, as the handlers of this kit do",
        )
    model = model.eval()
    bodies = [Path(name).read_bytes() for name in job["samples"]]
    inputs = seen_inputs(model, answer, bodies)
    path = Path(job["file"])
    try:
        with torch.inference_mode(mode=False), torch.no_grad():
            export(model, [tensor.clone() for tensor in inputs], job["format"], path)
    except ExportError:
        raise
    except Exception as error:
        traceback.print_exc()
        raise ExportError(
            f"PyTorch cannot write it as {job['format']}: {_first_line(error)}",
            "try another format; the whole message is above",
        ) from error
    manifest = json.loads(MANIFEST.read_text())
    manifest["model"]["serializedFile"] = path.name
    del manifest["model"]["modelFile"]
    MANIFEST.write_text(json.dumps(manifest))
    again, answer_again = load_handler()
    differences = compare(model, again.model, inputs, job["batch"], job["tolerance"])
    answers = [as_bytes(answer_again([body])[0]) for body in bodies]
    encoded = [base64.b64encode(answer).decode() for answer in answers]
    return {"differences": differences, "answers": encoded}


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'it said nothing'}"


def main() -> None:
    """Read the job, do it, and write what came of it."""
    job = json.loads(Path(sys.argv[1]).read_text())
    warnings.simplefilter("ignore")
    try:
        result = run(job)
    except ExportError as error:
        result = {"error": error.message, "hint": error.hint}
    except Exception as error:
        traceback.print_exc()
        hint = "prove the archive first: marsmith serve NAME"
        result = {"error": f"the archive cannot be loaded: {_first_line(error)}", "hint": hint}
    Path(job["result"]).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
