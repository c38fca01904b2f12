"""Run an export in a process of its own, which imports torch."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from marsmith.answers.messages import Request
from marsmith.archive.reader import Archive
from marsmith.core.errors import BuildError
from marsmith.torchserve.environment import without_secrets
from marsmith.torchserve.front_end import parameters_of

_CHILD = Path(__file__).parents[1] / "programs" / "export_model.py"


def _parameters(request: Request) -> list[tuple[str, str, str]]:
    """Return what a worker gets of a request: names, content types, and base64 of values."""
    return [
        (one.name, one.content_type, base64.b64encode(one.value).decode())
        for one in parameters_of(request)
    ]


def run_export(model: Path, folder: Path, archive: Archive, job: dict[str, Any]) -> dict[str, Any]:
    """Run the export in a process with torch, in an environment as for workers."""
    result = folder / "result.json"
    samples = [_parameters(archive.request_of(sample)) for sample in archive.samples]
    (folder / "job.json").write_text(json.dumps(job | {"samples": samples, "result": str(result)}))
    known = without_secrets(os.environ)
    environment = {k: v for k, v in known.items() if not k.startswith(("PYTHON", "TS_"))}
    process = subprocess.run(  # noqa: S603
        [sys.executable, "-s", str(_CHILD), str(folder / "job.json")],
        cwd=model,
        # A fixed seed fixes the order of sets, and with it the nodes of quantised graphs.
        env=environment | {"PYTHONHASHSEED": "0", "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if not result.exists():
        lines = process.stderr.strip().splitlines() or ["it printed nothing"]
        raise BuildError(
            f"the export ended with status {process.returncode}: {lines[-1]}",
            "there may be too little memory; try a smaller batchSize, or another format",
            code="export-failed",
        )
    found: dict[str, Any] = json.loads(result.read_text())
    if "error" in found:
        message = f"{archive.name}: {found['error']}"
        cause = RuntimeError(process.stderr)  # which MARSMITH_DEBUG prints
        raise BuildError(message, found["hint"], code="export-failed") from cause
    return found
