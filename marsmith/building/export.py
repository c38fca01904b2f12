"""Export a model for another engine into an archive, and compare it with eager PyTorch."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from marsmith.answers.agreement import Agreement, agreement
from marsmith.answers.messages import Request
from marsmith.archive.reader import Archive
from marsmith.building.building import build
from marsmith.building.calibration import Photos, split_photos
from marsmith.building.writer import write_archive
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import BuildError
from marsmith.core.extras import MODULES
from marsmith.core.installed import require
from marsmith.project.accepted_code import accepted_by, refuse_code
from marsmith.project.entries import entries
from marsmith.project.project import Project
from marsmith.project.spec import ArchiveSpec
from marsmith.torchserve.environment import without_secrets
from marsmith.torchserve.front_end import parameters_of

_ENGINES_FILE = "torch_engines.py"  # of handlers that know handler_config.engine and dtype


@dataclass(frozen=True)
class Format:
    """A format: the endings of its files, its engine, and the engine's dtypes."""

    endings: tuple[str, ...]
    engine: str
    dtypes: tuple[str, ...] = ("float32", "bfloat16")


FORMATS = {
    "torchscript-trace": Format((".pt",), "torchscript"),
    "torchscript-script": Format((".pt",), "torchscript"),
    "torch-export": Format((".pt2",), "eager"),
    "onnx": Format((".onnx",), "onnxruntime", ("float32", "int8")),
    "openvino": Format((".xml", ".bin"), "openvino", ("float32", "bfloat16", "int8")),
    "aotinductor": Format((".pt2",), "aotinductor"),
}
DTYPES = ("float32", "bfloat16", "int8")
_CHILD = Path(__file__).parents[1] / "programs" / "export_model.py"


@dataclass(frozen=True)
class Limits:
    """How much a model may differ from eager.

    `outputs`: difference of a float32 model's outputs, as a share of the largest (at least 1).
    `agreement`: for bfloat16 and int8, the share of photos with the same answer.
    `samples`: the smallest tolerance of samples in the new archive.
    """

    outputs: float = 1e-4
    agreement: float = 0.97
    samples: float = 0.0


@dataclass(frozen=True)
class Exported:
    """An archive of the model for another engine, and how much it differs from eager.

    `spec` is its table for archives.toml; the model's files only exist with `keep`.
    """

    spec: ArchiveSpec
    path: Path
    size: int  # bytes
    sha256: str
    # By kind of input: the largest "absolute" and "relative" one, and how many are "left_out".
    differences: dict[str, dict[str, float]]
    agreement: Agreement | None = None  # with eager's answers to the held-out photos
    kept: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """The new archive's name."""
        return self.spec.name


def export(
    project: Project,
    name: str,
    kind: str,
    *,
    dtype: str = "float32",
    photos: Path | None = None,
    keep: Path | None = None,
    limits: Limits | None = None,
) -> Exported:
    """Build `model_store/NAME-FORMAT[-DTYPE].mar`: same handler and samples, the model as `kind`.

    `photos` is a folder: some photos calibrate int8, the others test whether answers agree. Without
    it, the samples do both. `keep` is a folder for the model's files. Raises BuildError if a limit
    is exceeded, and then writes nothing.
    """
    limits = limits or Limits()
    (spec,) = project.specs((name,))
    _refuse_impossible(project, spec, kind, dtype)
    split = split_photos(photos) if photos else Photos()
    (built,) = build(project, (name,))
    archive = Archive(built.path)
    other = _spec_of(project, spec, kind, dtype, limits)
    files = [f"{other.name}{ending}" for ending in FORMATS[kind].endings]
    with tempfile.TemporaryDirectory(prefix="marsmith-export-") as folder:
        model = Path(folder) / "model"
        archive.unpack(model)
        refuse_code(archive, accepted_by(project), model)  # what is unpacked is what is run
        job = {
            "format": kind,
            "dtype": dtype,
            "engine": FORMATS[kind].engine if knows_engines(project, spec) else None,
            "file": files[0],
            "batch": max(2, int(spec.serving.get("batchSize") or 3)),
            "tolerance": limits.outputs,
            "calibrating": [str(path.absolute()) for path in split.calibrating],
            "held_out": [str(path.absolute()) for path in split.held_out],
        }
        found = _run(model, Path(folder), archive, job)
        agreed = _check(archive, other, found, limits, dtype)
        sha256 = write_archive(project, _with_files(other, [model / file for file in files]))
        kept = _keep([model / file for file in files], keep) if keep else ()
    path = project.model_store / f"{other.name}.mar"
    size = path.stat().st_size
    placed = [_relative(project, one) for one in kept]
    described = _with_files(other, placed or [Path(file) for file in files])
    return Exported(described, path, size, sha256, found["differences"], agreed, kept)


def knows_engines(project: Project, spec: ArchiveSpec) -> bool:
    """Return whether a handler is derived from marsmith_handlers, which load models by engines."""
    return any(Path(entry.name).name == _ENGINES_FILE for entry in entries(project, spec))


def _refuse_impossible(project: Project, spec: ArchiveSpec, kind: str, dtype: str) -> None:
    if not spec.model_file or not spec.serialized_file:
        raise BuildError(
            f"{spec.name} has no model_file with weights, so it is in an exported format already",
            "export an archive that has a model_file and a serialized_file",
            code="export-without-model",
        )
    if not spec.samples:
        raise BuildError(
            f"{spec.name} has no sample, so the input of its model is unknown",
            f"record one: marsmith sample {spec.name} FILE",
            code="no-sample",
        )
    if dtype not in FORMATS[kind].dtypes:
        able = [other for other, one in FORMATS.items() if dtype in one.dtypes]
        raise BuildError(
            f"{kind} does not support {dtype}, only {' and '.join(FORMATS[kind].dtypes)}",
            f"choose a format that does: --format {' or '.join(able)}",
            code="export-dtype",
        )
    require("exporting", "torchserve", "ts", "torch")
    if kind in ("onnx", "openvino"):
        require(f"exporting to {kind}", "torch", "onnxscript")
    if kind == "openvino":
        require("exporting to openvino", "openvino", *MODULES["openvino"])
    if not knows_engines(project, spec) and (
        dtype != "float32" or kind in ("openvino", "aotinductor")
    ):
        raise BuildError(
            f"{spec.name}'s handler has no engines: {_ENGINES_FILE} is not among its files",
            "derive the handler from one of marsmith_handlers, or choose another format",
            code="export-without-engines",
        )


def _spec_of(
    project: Project, spec: ArchiveSpec, kind: str, dtype: str, limits: Limits
) -> ArchiveSpec:
    """Return the table of the new archive, still without its model's files."""
    config = {k: v for k, v in spec.handler_config.items() if k not in ("engine", "dtype")}
    if knows_engines(project, spec):
        config["engine"] = FORMATS[kind].engine
        if dtype != "float32":
            config["dtype"] = dtype
    samples = [replace(s, tolerance=max(s.tolerance, limits.samples)) for s in spec.samples]
    return replace(
        spec,
        name="-".join([spec.name, kind, *([dtype] if dtype != "float32" else [])]),
        model_file=None,
        handler_config=config,
        samples=tuple(samples),
    )


def _with_files(spec: ArchiveSpec, files: list[Path]) -> ArchiveSpec:
    """Return a spec with the model's files (OpenVINO has two)."""
    first, *more = map(str, files)
    return replace(spec, serialized_file=first, extra_files=(*spec.extra_files, *more))


def _keep(files: list[Path], folder: Path) -> tuple[Path, ...]:
    """Copy the model's files into a folder, each completely or not at all."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            with file.open("rb") as source, replacing(folder / file.name) as target:
                shutil.copyfileobj(source, target)
    except OSError as error:
        hint = "free disk space, or name a writable folder"
        message = f"{folder} cannot be written: {error.strerror}"
        raise BuildError(message, hint, code="output-unwritable") from error
    return tuple(folder / file.name for file in files)


def _relative(project: Project, path: Path) -> Path:
    """Return a path for archives.toml: relative to the project, if it lies in it."""
    whole, root = path.resolve(), project.root.resolve()
    return whole.relative_to(root) if whole.is_relative_to(root) else whole


def _parameters(request: Request) -> list[tuple[str, str, str]]:
    """Return what a worker gets of a request: names, content types, and base64 of values."""
    return [
        (one.name, one.content_type, base64.b64encode(one.value).decode())
        for one in parameters_of(request)
    ]


def _run(model: Path, folder: Path, archive: Archive, job: dict[str, Any]) -> dict[str, Any]:
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


def _check(
    archive: Archive, other: ArchiveSpec, found: dict[str, Any], limits: Limits, dtype: str
) -> Agreement | None:
    """Return how well the answers agree. Raises BuildError if a limit is exceeded."""
    name = f"{archive.name} as {other.name.removeprefix(archive.name + '-')}"
    for where, distance in found["differences"].items():
        # For other dtypes, answers are compared, and outputs only need to be finite.
        limit = limits.outputs if dtype == "float32" else sys.float_info.max
        if distance["relative"] > limit:
            raise BuildError(
                f"{name} differs from eager by {distance['absolute']:.3g} on "
                f"{where}, {distance['relative']:.2g} of the output's largest value",
                "a model with branches on data needs torchscript-script; or raise --tolerance",
                code="export-differs",
            )
    answers = [base64.b64decode(one) for one in found["answers"]]
    for sample, spec, answer in zip(archive.samples, other.samples, answers, strict=True):
        judged = replace(sample, tolerance=spec.tolerance, largest=spec.largest)
        if wrong := judged.difference(archive.read(sample.response), answer):
            raise BuildError(
                f"{name} gives a wrong answer to its sample {sample.request}: {wrong}",
                f"check the archive itself: marsmith check {archive.name}"
                if dtype == "float32"
                else f"if the answer is good enough: --sample-tolerance above {spec.tolerance:g}",
                code="export-differs",
            )
    pairs = [(base64.b64decode(one), base64.b64decode(two)) for one, two in found["pairs"]]
    if not pairs:
        return None
    agreed = agreement(pairs, max(sample.tolerance for sample in other.samples))
    if dtype != "float32" and agreed.share < limits.agreement:
        raise BuildError(
            f"{name} answers {agreed.same} of {agreed.total} photos as eager does, "
            f"{agreed.share:.1%}, less than {limits.agreement:.1%}",
            "calibrate with photos like those in later requests (--calibrate), use bfloat16, or "
            "lower --agreement",
            code="export-differs",
        )
    return agreed
