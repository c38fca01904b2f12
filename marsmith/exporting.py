"""The same model in another format, in an archive of its own, held against eager."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from marsmith.archive import Archive
from marsmith.archiver import write_archive
from marsmith.building import build
from marsmith.errors import BuildError
from marsmith.project import Project
from marsmith.samples import difference

# Format → ending of its file, by which handlers know it.
FORMATS = {
    "torchscript-trace": ".pt",
    "torchscript-script": ".pt",
    "torch-export": ".pt2",
    "onnx": ".onnx",
}
_CHILD = Path(__file__).parent / "children" / "export_model.py"


@dataclass(frozen=True)
class Exported:
    """An archive of the model in another format, and how far its outputs are from eager."""

    name: str
    path: Path
    size: int  # bytes
    sha256: str
    differences: dict[str, dict[str, float]]  # the largest per kind of input: absolute, relative


def export(project: Project, name: str, kind: str, *, tolerance: float = 1e-4) -> Exported:
    """Build `model_store/NAME-FORMAT.mar`: same handler and samples, the model as `kind`.

    Outputs may differ from eager by `tolerance` times their largest value (at least 1), and the
    samples' answers by their own tolerance. Raises BuildError; then nothing is written.
    """
    (spec,) = project.specs((name,))
    if not spec.model_file or not spec.serialized_file:
        raise BuildError(
            f"{name} has no model_file with weights, so it is in an exported format already",
            "export an archive that has both",
        )
    if not spec.samples:
        raise BuildError(
            f"{name} has no sample, so nothing says what its model is given",
            f"add [[archives.{name}.samples]] with a request and its expected response",
        )
    (built,) = build(project, (name,))
    archive = Archive(built.path)
    with tempfile.TemporaryDirectory(prefix="marsmith-export-") as folder:
        model = Path(folder) / "model"
        with zipfile.ZipFile(built.path) as file:
            file.extractall(model)
        written = model / f"{Path(spec.serialized_file).stem}{FORMATS[kind]}"
        batch = max(2, int(spec.serving.get("batchSize") or 3))
        job = {"format": kind, "file": written.name, "batch": batch, "tolerance": tolerance}
        found = _run(model, Path(folder), archive, job)
        _check(archive, kind, found, tolerance)
        other = replace(spec, name=f"{name}-{kind}", model_file=None, serialized_file=str(written))
        sha256 = write_archive(project, other)
    path = project.model_store / f"{other.name}.mar"
    return Exported(other.name, path, path.stat().st_size, sha256, found["differences"])


def _run(model: Path, folder: Path, archive: Archive, job: dict[str, Any]) -> dict[str, Any]:
    """Let a process with torch do the work, in an environment as workers have it."""
    result = folder / "result.json"
    samples = [sample.request for sample in archive.samples]
    (folder / "job.json").write_text(json.dumps(job | {"samples": samples, "result": str(result)}))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "TS_"))}
    process = subprocess.run(  # noqa: S603
        [sys.executable, "-I", str(_CHILD), str(folder / "job.json")],
        cwd=model,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if not result.exists():
        lines = process.stderr.strip().splitlines() or ["it said nothing"]
        raise BuildError(
            f"the export ended with status {process.returncode}: {lines[-1]}",
            "there may be too little memory; try a smaller batchSize, or another format",
        )
    found: dict[str, Any] = json.loads(result.read_text())
    if "error" in found:
        raise BuildError(f"{archive.name}: {found['error']}", found["hint"])
    return found


def _check(archive: Archive, kind: str, found: dict[str, Any], tolerance: float) -> None:
    for where, distance in found["differences"].items():
        if distance["wrong"] > tolerance:
            raise BuildError(
                f"{archive.name} as {kind} differs from eager by {distance['absolute']:.3g} on "
                f"{where}, {distance['wrong']:.2g} of the output's largest value",
                "a model that decides by its data needs torchscript-script; or --tolerance",
            )
    for sample, encoded in zip(archive.samples, found["answers"], strict=True):
        expected, answer = archive.read(sample.response), base64.b64decode(encoded)
        if wrong := difference(expected, answer, sample.tolerance, sample.largest):
            raise BuildError(
                f"{archive.name} as {kind} answers its sample {sample.request} wrongly: {wrong}",
                "does the archive itself answer rightly? marsmith serve",
            )
