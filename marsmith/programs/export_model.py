"""Write an unpacked archive's model in another format, and measure how far it is from eager.

Run by building/export.py as `python -s export_model.py JOB.json` with the archive's folder as
working directory; what it found goes to the job's "result". The handler is loaded by TorchServe's
own loader and answers the archive's samples, so the inputs are what the model really sees.
"""

from __future__ import annotations

import base64
import json
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import yaml
from ts.context import RequestProcessor
from ts.model_loader import TsModelLoader

from marsmith.archive.reader import Archive
from marsmith.programs.exported_differences import Model, compare, noise
from marsmith.programs.exported_formats import ExportError, enough, write_format

MANIFEST, CONFIG = Path("MAR-INF/MANIFEST.json"), Path("model-config.yaml")
Row = dict[str, Any]  # what a handler gets of a request
Answer = Callable[[Row], bytes]
_OTHER_FORMAT = "try another format; MARSMITH_DEBUG=1 prints the whole error"


def load_handler() -> tuple[Any, Answer]:
    """Load the archive as a worker does; return its handler and what answers a request's body."""
    manifest = json.loads(MANIFEST.read_text())
    service = TsModelLoader().load(
        manifest["model"]["modelName"], str(Path.cwd()), manifest["model"]["handler"], None, 1
    )
    handler = getattr(service._entry_point, "__self__", None)

    def answer(row: Row) -> bytes:
        service.context.request_ids = {0: "sample"}
        service.context.request_processor = [RequestProcessor({})]
        (given,) = service._entry_point([row], service.context)
        return _as_bytes(given)

    return handler, answer


def _row(parameters: list[list[str]]) -> Row:
    """Return what TorchServe's worker makes of a request (ts/protocol/otf_message_handler.py)."""
    row: Row = {}
    for name, content_type, encoded in parameters:
        value = bytearray(base64.b64decode(encoded))
        row[name] = json.loads(value) if content_type == "application/json" else value
        if content_type.startswith("text"):
            row[name] = value.decode()
    return row


def _file(path: str) -> Row:
    return {"body": Path(path).read_bytes()}


def _as_bytes(answer: Any) -> bytes:
    """Return an answer as TorchServe would send it."""
    if isinstance(answer, (bytes, bytearray)):
        return bytes(answer)
    return answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()


def ask(
    model: torch.nn.Module, answer: Answer, rows: Iterable[Row]
) -> tuple[list[torch.Tensor], list[bytes]]:
    """Let requests be answered one by one; return what the model got, and the answers.

    Those that are refused before the model sees them are left out.
    """
    inputs: list[torch.Tensor] = []
    answers = []

    def keep(_module: torch.nn.Module, given: tuple[Any, ...]) -> None:
        (first, *_) = given  # a detector takes a list
        inputs.append(first.clone() if isinstance(first, torch.Tensor) else first)

    hook = model.register_forward_pre_hook(keep)
    for row in rows:
        before = len(inputs)
        body = answer(row)
        if len(inputs) > before:
            answers.append(body)
    hook.remove()
    return inputs, answers


def set_model(path: Path) -> None:
    """Let the unpacked archive's manifest name the new model in place of the class."""
    manifest = json.loads(MANIFEST.read_text())
    manifest["model"]["serializedFile"] = path.name
    del manifest["model"]["modelFile"]
    MANIFEST.write_text(json.dumps(manifest))


def set_engine(engine: str | None, dtype: str) -> None:
    """Set the engine and dtype of the handler; None for a handler that has no engines."""
    if engine is None:
        return
    values = Archive(Path.cwd()).model_config
    values.setdefault("handler_config", {}).update(engine=engine, dtype=dtype)
    CONFIG.write_text(yaml.safe_dump(values, allow_unicode=True))
    manifest = json.loads(MANIFEST.read_text())
    manifest["model"]["configFile"] = CONFIG.name
    MANIFEST.write_text(json.dumps(manifest))


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Do the job; return what it found, or {"error", "hint"}."""
    sys.path.insert(0, str(Path.cwd()))
    set_engine(job["engine"] and "eager", "float32")
    handler, answer = load_handler()
    model = getattr(handler, "model", None)
    model = getattr(model, "network", model)  # of an engine of marsmith_handlers
    if not isinstance(model, torch.nn.Module):
        raise ExportError(
            "the handler has no model that PyTorch can export",
            "keep the nn.Module in `self.model`, as marsmith_handlers do",
        )
    model = model.eval()
    rows = [_row(one) for one in job["samples"]]
    inputs, _ = ask(model, answer, rows)
    if not inputs:
        raise ExportError(
            "the handler answered its samples without calling its model",
            "only models that the handler keeps in `self.model` can be exported",
        )
    _refuse_structures(model, inputs[0])
    photos = [_file(one) for one in job["calibrating"]] if job["dtype"] == "int8" else []
    calibration = ask(model, answer, photos)[0]
    write(model, inputs, calibration or inputs, job)
    set_model(Path(job["file"]))
    set_engine(job["engine"], job["dtype"])
    try:
        return hold_against(model, answer, inputs, job)
    except ExportError:
        raise
    except Exception as error:
        traceback.print_exc()
        raise ExportError(
            f"what was written as {job['format']} fails: {_first_line(error)}", _OTHER_FORMAT
        ) from error


def _refuse_structures(model: torch.nn.Module, given: Any) -> None:
    """Raise ExportError unless the model takes one tensor and returns one."""
    with torch.inference_mode():
        pair = {"takes": given, "returns": model(given)}
    for verb, value in pair.items():
        if not isinstance(value, torch.Tensor):
            raise ExportError(
                f"the model {verb} a {type(value).__name__}, and an export needs one tensor",
                "serve it with engine eager, or let forward() take and return a tensor",
            )


def hold_against(
    model: torch.nn.Module, answer: Answer, inputs: list[torch.Tensor], job: dict[str, Any]
) -> dict[str, Any]:
    """Load the new archive, and compare its outputs and answers with eager's."""
    again, answer_again = load_handler()
    exported = _taking_tensors(again.model)
    # An int8 model has never seen noise, and owes it nothing.
    random = noise(inputs[0], job["batch"]) if job["dtype"] == "float32" else {}
    differences = {
        name: compare(model, exported, tensors, job["tolerance"])
        for name, tensors in ({"samples": inputs} | random).items()
    }
    pairs = []
    for file in job["held_out"]:
        seen, answers = ask(model, answer, [_file(file)])  # one by one: they may be large
        if seen:
            pairs.append((answers[0], answer_again(_file(file))))
            found = compare(model, exported, seen, job["tolerance"])
            before = differences.setdefault("photos held out", dict.fromkeys(found, 0.0))
            left_out = before["left_out"] + found["left_out"]
            larger = {key: max(value, found[key]) for key, value in before.items()}
            differences["photos held out"] = larger | {"left_out": left_out}
    return {
        "differences": differences,
        "answers": [_text(answer_again(_row(one))) for one in job["samples"]],
        "pairs": [list(map(_text, pair)) for pair in pairs],
    }


def _taking_tensors(model: Callable[..., Any]) -> Model:
    """Return what is called with tensors: the engines of marsmith_handlers take arrays."""
    if isinstance(model, torch.nn.Module) or not hasattr(model, "stack"):
        return model
    return lambda tensor: torch.from_numpy(model(tensor.numpy()))


def _text(answer: bytes) -> str:
    return base64.b64encode(answer).decode()


def write(
    model: torch.nn.Module,
    inputs: list[torch.Tensor],
    calibration: list[torch.Tensor],
    job: dict[str, Any],
) -> None:
    """Write the job's file."""
    kind, own = job["format"], [tensor.clone() for tensor in inputs]
    try:
        with torch.inference_mode(mode=False), torch.no_grad():
            write_format(model, own, kind, job["dtype"], Path(job["file"]), enough(calibration))
    except ExportError:
        raise
    except Exception as error:
        traceback.print_exc()
        raise ExportError(
            f"it cannot be written as {kind}: {_first_line(error)}",
            _OTHER_FORMAT,
        ) from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'it said nothing'}"


def _archive_name() -> str:
    try:
        name: str = json.loads(MANIFEST.read_text())["model"]["modelName"]
    except (OSError, ValueError, LookupError, TypeError):
        return "NAME"
    return name


def main() -> None:
    """Read the job, do it, and write the result."""
    job = json.loads(Path(sys.argv[1]).read_text())
    warnings.simplefilter("ignore")
    try:
        result = run(job)
    except ExportError as error:
        result = {"error": error.message, "hint": error.hint}
    except Exception as error:
        traceback.print_exc()
        hint = f"prove the archive first: marsmith serve {_archive_name()}"
        result = {"error": f"the archive cannot be loaded: {_first_line(error)}", "hint": hint}
    Path(job["result"]).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
