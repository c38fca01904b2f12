"""A worker, watched: what it asks of the network, and how the model is called.

    python watched_worker.py NOTES WORKER OPTION…

WORKER is TorchServe's model_service_worker.py, or light_worker.py, whose models torch does not run.

NOTES is the number of an open file. Each line that is added is JSON: {"network": [addresses],
"writes": [paths that could not be written], "calls": [of the model], "loose": [loads of weights
that were not strict, and took few of them], "returned": what the handler returned last, if it
cannot be sent}. The network is refused, whatever the handler does.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import re
import runpy
import signal
import socket
import sys
import traceback
from collections.abc import Sized
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

_TORCHSERVE = "model_service_worker.py"
_CALLS = 3  # of the model that are looked at
_LOCAL = ("", "localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104 - names to be let through

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_WRITTEN = 20  # paths
_OF_LIBRARIES = re.compile(r"__pycache__|^/(proc|sys|dev)/")
_DEPTH = 100  # of lists in lists
_NAMES = 2000  # of a state_dict's differences
_OWN_NAME = socket.gethostname()
# Where libraries tell their makers that they are used: refused, and no need of the archive's.
_TELEMETRY = re.compile(r"google-analytics|sentry|posthog|segment\.io|mixpanel|scarf\.sh|telemetry")

notes: dict[str, Any] = {"network": [], "writes": [], "calls": [], "loose": [], "returned": None}
place = -1


def write() -> None:
    """Write all notes; the worker may be killed at any time."""
    os.write(place, f"{json.dumps(notes)}\n".encode())


def watch_network(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse what would leave the machine (an audit hook: PEP 578)."""
    wanted = None
    if event == "urllib.Request" and not str(arguments[0]).startswith("file:"):
        wanted = str(arguments[0])
    elif event == "socket.getaddrinfo" and arguments[0]:
        wanted = _text(arguments[0])
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        wanted = str(arguments[1][0])
    if wanted and not _is_local(wanted):
        if not _TELEMETRY.search(wanted):
            notes["network"].append(wanted)
            write()
        raise OSError(f"marsmith check refuses the network: {wanted}")


def watch_writes(event: str, arguments: tuple[Any, ...]) -> None:
    """Note what will be refused: files that are to be written where that is not allowed."""
    if event == "open":
        path, _, flags = arguments
        if not isinstance(flags, int) or not flags & _WRITES:
            return
    elif event == "os.mkdir":
        path = arguments[0]
    else:
        return
    if isinstance(path, (str, bytes, os.PathLike)) and len(notes["writes"]) < _WRITTEN:
        text = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - resolve() follows links
        # Python tries to keep bytecode beside each module, and libraries ask the system about it.
        if (
            not _OF_LIBRARIES.search(text)
            and not _is_writable(text)
            and text not in notes["writes"]
        ):
            notes["writes"].append(text)
            write()


def _is_writable(path: str) -> bool:
    target = path if os.path.lexists(path) else os.path.dirname(path)  # noqa: PTH120 - as above
    # What is missing has another cause than a sandbox.
    return os.access(target, os.W_OK) or not os.path.lexists(target)


def _text(host: Any) -> str:
    return host.decode(errors="replace") if isinstance(host, bytes) else str(host)


def _is_local(address: str) -> bool:
    return address in (*_LOCAL, _OWN_NAME) or address.startswith("127.")


def has_values(module: Any) -> bool:
    """Tell a model from what prepares its input, such as torchvision's transforms."""
    values = (*module.parameters(), *module.buffers())
    return bool(values)


def watch_calls() -> None:
    """Note the first calls of outermost modules: training mode, and gradients in their outputs."""
    import torch
    from torch.nn.modules import module as modules

    depth = 0
    handles: list[Any] = []

    def before(module: Any, inputs: Any) -> None:  # noqa: ARG001 - torch's signature
        nonlocal depth
        depth += 1

    def after(module: Any, inputs: Any, output: Any) -> None:  # noqa: ARG001
        nonlocal depth
        depth -= 1
        if depth > 0 or len(notes["calls"]) >= _CALLS or not has_values(module):
            return
        training = [name for name, one in module.named_modules() if one.training]
        has_dropout = any(
            one.training and type(one).__name__.startswith(("Dropout", "BatchNorm"))
            for one in module.modules()
        )
        found = output if isinstance(output, torch.Tensor) else None
        notes["calls"].append(
            {
                "model": type(module).__name__,
                "training": bool(training),
                "random": has_dropout,
                "gradients": found is not None and bool(found.requires_grad),
            }
        )
        write()
        if len(notes["calls"]) >= _CALLS:
            for handle in handles:
                handle.remove()

    handles.append(modules.register_module_forward_pre_hook(before))
    handles.append(modules.register_module_forward_hook(after, always_call=True))


def watch_weights() -> None:
    """Note the loads of weights with strict=False that leave most of model and weights apart."""
    from torch import nn

    load = nn.Module.load_state_dict

    def watched(
        module: Any, state_dict: Any, strict: bool = True, *rest: Any, **others: Any
    ) -> Any:
        result = load(module, state_dict, strict, *rest, **others)
        missing, unexpected = list(result.missing_keys), list(result.unexpected_keys)
        few = missing and 2 * len(unexpected) > len(state_dict)
        if few and 2 * len(missing) > len(module.state_dict()):
            loose = {"missing": missing[:_NAMES], "unexpected": unexpected[:_NAMES]}
            notes["loose"].append(loose)
            write()
        return result

    nn.Module.load_state_dict = watched  # type: ignore[method-assign, assignment]


def watch_answers(module: str) -> None:
    """Note what the handler returns, if it cannot be sent."""
    service: Any = importlib.import_module(module).Service
    predict = service.predict

    def watched(self: Any, batch: Any) -> Any:
        entry_point = self._entry_point

        def noted(data: Any, context: Any) -> Any:
            returned = entry_point(data, context)
            with suppress(Exception):  # a look at a stranger's objects can raise anything
                note_returned(returned, len(data))
            return returned

        self._entry_point = noted
        try:
            return predict(self, batch)
        finally:
            self._entry_point = entry_point

    service.predict = watched


def note_returned(returned: Any, requests: int) -> None:
    """Note its type and number, and the place of the first value that cannot be sent."""
    is_list = isinstance(returned, list)
    found = unsendable(returned) if is_list and len(returned) == requests else None
    before = notes["returned"]
    notes["returned"] = None
    if found or not is_list or len(returned) != requests:
        shape = getattr(returned, "shape", None)
        notes["returned"] = {
            "requests": requests,
            "type": type_name(returned),
            "count": len(returned) if isinstance(returned, Sized) else None,
            "shape": list(shape) if isinstance(shape, tuple) else None,
            "place": found[0] if found else "",
            "value": found[1] if found else "",
        }
    if notes["returned"] != before:
        write()


def unsendable(answers: list[Any]) -> tuple[str, str] | None:
    """Return place and type of the first value that TorchServe's worker cannot send, or None."""
    torch: Any = sys.modules.get("torch")
    whole = (bytes, bytearray, str, *((torch.Tensor,) if torch else ()))
    for index, answer in enumerate(answers):
        if not isinstance(answer, whole) and (found := not_json(answer, f"[{index}]")):
            return found
    return None


def not_json(value: Any, place: str, depth: int = 0) -> tuple[str, str] | None:
    """Return place and type of the first value within another that JSON has no form for."""
    if value is None or isinstance(value, (str, int, float)):
        return None
    if not isinstance(value, (dict, list, tuple)) or depth > _DEPTH:
        return place, type_name(value)
    if isinstance(value, dict):
        for key in value:
            if key is not None and not isinstance(key, (str, int, float)):
                return place, f"dict with a key of type {type_name(key)}"
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    found = (not_json(inner, f"{place}[{key!r}]", depth + 1) for key, inner in pairs)
    return next(filter(None, found), None)


def watch_ends() -> None:
    """Print where the handler is when it crashes, ends its worker, or its time has passed."""
    faulthandler.enable(all_threads=False)
    faulthandler.register(signal.SIGUSR2, all_threads=False)
    end, own = os._exit, os.getpid()

    def noted(status: int) -> NoReturn:
        if os.getpid() == own:  # not a child, which ends in this way
            print_end(traceback.extract_stack()[:-1], status)
        end(status)

    os._exit = noted


def print_end(stack: traceback.StackSummary | list[traceback.FrameSummary], status: Any) -> None:
    """Print a call that ends the worker as an exception, if the archive's code made it."""
    if any(frame.filename.startswith(f"{Path.cwd()}/") for frame in stack):
        lines = ["Traceback (most recent call last):\n", *traceback.format_list(stack)]
        sys.stderr.write("".join(lines) + f"SystemExit: {status}\n")
        sys.stderr.flush()


def type_name(value: Any) -> str:
    """Return `numpy.ndarray`, or `dict` for a type of Python's own."""
    kind = type(value)
    own = kind.__module__ == "builtins"
    return kind.__qualname__ if own else f"{kind.__module__}.{kind.__qualname__}"


if __name__ == "__main__":
    place = int(sys.argv[1])
    os.set_inheritable(place, False)
    sys.argv = sys.argv[2:]
    sys.path[0] = str(Path(sys.argv[0]).parent)  # as if Python had been started with the worker
    sys.addaudithook(watch_network)
    sys.addaudithook(watch_writes)
    torchserve = Path(sys.argv[0]).name == _TORCHSERVE
    if torchserve:
        watch_calls()
        watch_weights()
    watch_answers("ts.service" if torchserve else "marsmith.programs.light_service")
    watch_ends()
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as error:
        print_end(traceback.extract_tb(error.__traceback__), error.code)
        raise
