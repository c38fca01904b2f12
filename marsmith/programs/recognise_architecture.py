"""Say what tensors the network of a model file has, without a value of any.

Run by init/compare_source.py as `python -s recognise_architecture.py JOB.json RESULT.json`. The
job has "source", the text of the model file, and "beside", the folder of its imports. The result
is name → shape, as in its state_dict.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

Shapes = dict[str, list[int]]
NOT_COMPARED = "num_batches_tracked"  # frozen layers, and files of old, have none


class _EmptyOnMeta(TorchFunctionMode):
    """Parameters have no memory; what a builder computes with (RegNet its widths) has."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        more = {"device": "meta"} if func is torch.empty else {}
        return func(*args, **(kwargs or {}) | more)


def built(build: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """Build a model without memory for its values; in full if it computes with them."""
    for way in (torch.device("meta"), _EmptyOnMeta()):
        with contextlib.suppress(NotImplementedError, RuntimeError), way:
            return build()
    return build()


def shapes_of(model: torch.nn.Module) -> Shapes:
    """Return the shapes of what a model's state_dict holds."""
    state = model.state_dict()
    return {k: list(v.shape) for k, v in state.items() if not k.endswith(NOT_COMPARED)}


def only_class(source: str) -> Callable[[], torch.nn.Module]:
    """Run a model file's text and return its class."""
    space: dict[str, Any] = {"__name__": "model_file"}
    exec(compile(source, "model_file.py", "exec"), space)  # noqa: S102 (init wrote it)
    (found,) = [
        one
        for one in space.values()
        if isinstance(one, type) and one.__module__ == space["__name__"]
    ]
    return found


def main() -> None:
    """Do the job that the command line names."""
    job = json.loads(Path(sys.argv[1]).read_text())
    sys.path[0] = job["beside"] or sys.path[0]
    shapes = shapes_of(built(only_class(job["source"])))
    Path(sys.argv[2]).write_text(json.dumps(shapes))


if __name__ == "__main__":
    main()
