"""Compare a model file with the tensors it must fit, by building its network in a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from marsmith.core.errors import ProjectError
from marsmith.torchserve.environment import without_secrets
from marsmith.weights.tensors import Tensor

_CHILD = Path(__file__).parents[1] / "programs" / "recognise_architecture.py"
_MOST = 5  # differences named


def can_compare() -> bool:
    """Say whether torch is there to build networks."""
    return find_spec("torch") is not None


def require_fit(source: Path | str, tensors: Mapping[str, Tensor]) -> None:
    """Raise ProjectError unless the class in a model file has exactly these tensors.

    `source` is the file, or its text. The network is built without memory for its values.
    """
    with tempfile.TemporaryDirectory(prefix="marsmith-init-") as folder:
        shapes = {name: list(one.shape) for name, one in tensors.items()}
        result, job = Path(folder) / "result.json", Path(folder) / "job.json"
        text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
        beside = str(source.parent) if isinstance(source, Path) else ""
        job.write_text(json.dumps({"source": text, "beside": beside, "shapes": shapes}))
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
                "see that torch and torchvision can be imported; MARSMITH_DEBUG=1 shows the error",
                code="network-not-built",
            ) from RuntimeError(process.stderr)
        differences: list[str] = json.loads(result.read_text())
    if differences:
        more = f"; and {len(differences) - _MOST} more" if len(differences) > _MOST else ""
        raise ProjectError(
            f"the network and the weights differ: {'; '.join(differences[:_MOST])}{more}",
            "give a class that has the names and shapes of the weights: --model-file FILE",
            code="network-differs",
        )
