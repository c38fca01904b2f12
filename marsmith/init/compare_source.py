"""Compare a model file with the tensors it must fit, by building its network in a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from marsmith.core.errors import ProjectError
from marsmith.core.installed import is_installed
from marsmith.init.architectures import Shape
from marsmith.init.recognise import NOT_COMPARED, Shapes
from marsmith.project.python_outline import class_problem, outline
from marsmith.torchserve.environment import without_secrets
from marsmith.weights.tensors import Tensor

_CHILD = Path(__file__).parents[1] / "programs" / "recognise_architecture.py"
_MOST = 5  # differences named


def can_compare() -> bool:
    """Say whether torch is there to build networks."""
    return is_installed("torch")


def require_fit(source: Path | str, tensors: Mapping[str, Tensor]) -> None:
    """Raise ProjectError unless the class in a model file has exactly these tensors."""
    require_same(network_shapes(source), {name: one.shape for name, one in tensors.items()})


def network_shapes(source: Path | str) -> dict[str, Shape]:
    """Return the tensors that the network of a model file, or of its text, has.

    It is built without memory for its values. Raises ProjectError if it cannot be built.
    """
    text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
    _require_one_class(text)
    with tempfile.TemporaryDirectory(prefix="marsmith-init-") as folder:
        result, job = Path(folder) / "result.json", Path(folder) / "job.json"
        beside = str(source.parent) if isinstance(source, Path) else ""
        job.write_text(json.dumps({"source": text, "beside": beside}))
        process = subprocess.run(  # noqa: S603
            [sys.executable, "-s", str(_CHILD), str(job), str(result)],
            env=without_secrets(os.environ),
            capture_output=True,
            text=True,
            check=False,
        )
        if not result.exists():
            lines = process.stderr.strip().splitlines() or ["it printed nothing"]
            raise ProjectError(
                f"the network cannot be built: {lines[-1]}",
                "correct its file, or what it imports; MARSMITH_DEBUG=1 shows the whole error",
                code="network-not-built",
            ) from RuntimeError(process.stderr)
        return {name: tuple(shape) for name, shape in json.loads(result.read_text()).items()}


def _require_one_class(text: str) -> None:
    try:
        problem = class_problem(outline(text), "model file")
    except (SyntaxError, ValueError):
        return  # the child says where
    if problem is not None:
        raise ProjectError(problem.message, problem.hint, code="network-not-built")


def require_same(wanted: Shapes, given: Shapes) -> None:
    """Raise ProjectError unless a network and a file have the same tensors."""
    found = list(_differences(wanted, given))
    if found:
        more = f"; and {len(found) - _MOST} more" if len(found) > _MOST else ""
        raise ProjectError(
            f"the network and the weights differ: {'; '.join(found[:_MOST])}{more}",
            "give a class that has the names and shapes of the weights: --model-file FILE",
            code="network-differs",
        )


def _differences(wanted: Shapes, given: Shapes) -> Iterator[str]:
    for name in sorted(wanted.keys() | given.keys()):
        if name.endswith(NOT_COMPARED):
            continue
        if name not in given:
            yield f"{name} is missing in the file"
        elif name not in wanted:
            yield f"{name} is in the file only"
        elif wanted[name] != given[name]:
            yield f"{name} is {given[name]} in the file, {wanted[name]} in the network"
