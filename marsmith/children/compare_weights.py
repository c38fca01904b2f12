"""Build an archive's model and say how its weights differ from it.

    python compare_weights.py MODEL_FILE WEIGHTS OUTPUT

Runs in the unpacked archive, without a network; OUTPUT becomes JSON: {"error": …} or {"missing":
[names], "unexpected": [names], "shapes": {name: [the model's, the weights']}}.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from pathlib import Path
from typing import Any

import torch


def main(model_file: str, weights: str) -> dict[str, Any]:
    """Compare names and shapes; values don't matter."""
    sys.path.insert(0, str(Path.cwd()))
    module = importlib.import_module(Path(model_file).stem)
    classes: list[Any] = [
        one
        for _, one in inspect.getmembers(module, inspect.isclass)
        if one.__module__ == module.__name__
    ]
    if len(classes) != 1:
        return {"error": f"{len(classes)} classes"}
    if weights.endswith(".safetensors"):
        from safetensors.torch import load_file

        given = load_file(weights)
    else:
        given = torch.load(weights, map_location="cpu", weights_only=True, mmap=True)
    expected = classes[0]().state_dict()
    shapes = {
        name: [list(expected[name].shape), list(value.shape)]
        for name, value in given.items()
        if name in expected and expected[name].shape != value.shape
    }
    return {
        "missing": [name for name in expected if name not in given],
        "unexpected": [name for name in given if name not in expected],
        "shapes": shapes,
    }


def refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse connections to other machines (an audit hook: PEP 578)."""
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        raise OSError("the network is refused")


if __name__ == "__main__":
    sys.addaudithook(refuse_network)
    try:
        found = main(*sys.argv[1:3])
    except Exception as error:  # whatever somebody's model raises
        found = {"error": f"{type(error).__name__}: {error}"}
    Path(sys.argv[3]).write_text(json.dumps(found))
