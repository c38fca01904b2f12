"""Explain why a worker could not load its model: an exception in, a finding out; no IO."""

from __future__ import annotations

import re
from dataclasses import replace

from marsmith.core.extras import extra_of, install_hint
from marsmith.core.findings import Finding
from marsmith.torchserve.tracebacks import Failure, missing_module
from marsmith.torchserve.withheld import how_to_pass
from marsmith.torchserve.worker_lines import CHATTER
from marsmith.weights.state_dict_differences import differences_in

_LAST_LINES = 3  # of a log, that are shown
_OF_ENVIRON = re.compile(r"(<frozen os>|os\.py):\d+ in __getitem__")
_STATE_DICT = "Error(s) in loading state_dict"


def explain(failure: Failure | None, log_file: str | None, log: str = "") -> Finding:
    """Turn a worker's exception into a finding with the next action.

    Without a `log_file` for the user to read, the hint quotes the `log` instead.
    """
    if failure is None:
        where = f"its last lines are in {log_file}" if log_file else _tail(log)
        return Finding(
            "its worker ended without an error message",
            f"it was killed (out of memory?) or called exit(); {where}",
            rule="worker-ended",
        )
    message = failure.exception
    if _STATE_DICT in message and (differs := differences_in(message)):
        short = f"the weights do not fit the model: {differs.short}"
        found = Finding(short, differs.cause(), failure.file, failure.line, rule="weights-keys")
        return replace(found, about=message)
    hint = next((text for pattern, text in _HINTS if re.search(pattern, message)), None)
    if variable := _missing_variable(failure):
        hint = f"a worker has no such variable: {how_to_pass(variable)}"
    missing = missing_module(message)
    if missing and message.startswith("ModuleNotFoundError: "):
        hint = _missing_module(missing)
    if hint is None:
        frames = f"it was raised by {' ← '.join(reversed(failure.frames)) or 'no file'}"
        where = f"the whole traceback is in {log_file}" if log_file else frames
        hint = f"correct the code and build the archive again; {where}"
    return Finding(message, hint, failure.file, failure.line, rule="worker-exception")


def _missing_variable(failure: Failure) -> str | None:
    """Return the variable that os.environ[…] did not find, or None for another failure."""
    found = re.fullmatch(r"KeyError: '(\w+)'", failure.exception)
    raised = failure.frames[-1] if failure.frames else ""
    return (
        found[1] if found and re.match(r"(<frozen os>|os\.py):\d+ in __getitem__", raised) else None
    )


def _tail(log: str) -> str:
    """Return the last lines of a log that is about to be removed."""
    lines = [line.strip()[:200] for line in log.splitlines() if line.strip()]
    own = [line for line in lines if not CHATTER.match(line)][-_LAST_LINES:]
    return f"its last lines: {' | '.join(own)}" if own else "it printed nothing"


def _missing_module(module: str) -> str:
    top = module.partition(".")[0]
    if top == "marsmith":
        return "a worker has no marsmith package: import from marsmith_handlers instead"
    if top == "marsmith_handlers":
        return "it is part of Marsmith: marsmith build packs it into the archive"
    if extra := extra_of(module):
        return install_hint(extra)
    return (
        f"if {module} is your own file, put it beside the handler (build follows imports); "
        "if it is imported by a computed name, add it to extra_files; "
        "if it is a package, install it here or declare it in a requirements_file"
    )


WHERE_TO_WRITE = (
    'write below the model\'s folder, context.system_properties["model_dir"], or a temporary one'
)
_HINTS = (
    (
        r"OSError: \[Errno 30\] Read-only file system",
        f"{WHERE_TO_WRITE}; in a sandbox, all else is read-only: --no-sandbox runs it without",
    ),
    (
        r"Error\(s\) in loading state_dict",
        "the weights do not fit the model_file: use those of the same architecture",
    ),
    (
        r"failed locating file constants\.pkl",
        "the file is no TorchScript, which is what a .pt without a model_file must be: if it is a "
        "state_dict, set model_file to the file of the model's class",
    ),
    (
        r"Cannot use ``weights_only=True`` with TorchScript",
        "TorchScript contains its model's class: remove model_file, and name the file .pt",
    ),
    (
        r"No model weights could be loaded",
        "without a model_file, TorchServe's BaseHandler loads only TorchScript named .pt, and "
        ".onnx: set model_file to the file of the model's class, or rename TorchScript to .pt",
    ),
    (
        r"selected index k out of range",
        "topk asks for more than there are classes; TorchServe's image_classifier asks for 5: "
        "derive from it with `topk = 2` in the class, or whatever number of classes there is",
    ),
    (
        r"UnpicklingError: Weights only load failed",
        "the weights pickle more than tensors, or are of another kind, such as safetensors: "
        "save torch.save(model.state_dict(), FILE); marsmith weights inspect FILE tells the kind",
    ),
    (
        r"PytorchStreamReader|unexpected EOF|Ran out of input|invalid load key|EOFError",
        "the weights are cut off or damaged: copy them again, or save them again",
    ),
    (r"SyntaxError|IndentationError|TabError", "correct the line and build the archive again"),
    (r"unknown handler_config key", "correct it in archives.toml, [archives.NAME.handler_config]"),
    (
        r"missing \d+ required positional argument",
        "TorchServe builds the model without arguments: give them default values",
    ),
    (
        r"Expected only one class",
        "leave one class in the file, and import the others from files beside it",
    ),
    (r"Can't instantiate abstract class", "implement the abstract methods"),
    (
        r"'InferenceSession' object is not callable",
        "TorchServe's BaseHandler calls an ONNX model as if it were PyTorch's: write inference(): "
        "session = self.model; "
        "return session.run(None, {session.get_inputs()[0].name: data.numpy()})[0]",
    ),
    (r"FileNotFoundError", "put the file into the archive: add it to extra_files"),
    (
        r"^SystemExit: ",
        "the handler ends its worker: raise an exception instead, or refuse the request by "
        "context.set_response_status(400, …, index)",
    ),
    (r"MemoryError|out of memory", "free memory, or serve fewer workers: minWorkers"),
)
