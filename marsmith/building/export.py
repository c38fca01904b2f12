"""The same model for another engine, in an archive of its own, held against eager."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from marsmith.answers.agreement import Agreement, agreement
from marsmith.archive.reader import Archive
from marsmith.building.building import build
from marsmith.building.calibration import Photos, split_photos
from marsmith.building.writer import write_archive
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import BuildError
from marsmith.core.extras import MODULES
from marsmith.core.installed import require
from marsmith.project.entries import entries
from marsmith.project.project import Project
from marsmith.project.spec import ArchiveSpec
from marsmith.torchserve.environment import without_secrets

_ENGINES_FILE = "torch_engines.py"  # of handlers that know handler_config.engine and dtype


@dataclass(frozen=True)
class Format:
    """The endings of a format's files, the engine that runs it, and in which dtypes."""

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
    """How far a model may be from eager.

    `outputs`: of a float32 model's outputs, as a share of their largest value (at least 1).
    `agreement`: of bfloat16 and int8, the share of photos that must be answered alike.
    `samples`: the tolerance that samples have in the new archive, if their own is less.
    """

    outputs: float = 1e-4
    agreement: float = 0.97
    samples: float = 0.0


@dataclass(frozen=True)
class Exported:
    """An archive of the model for another engine, and how far it is from eager.

    `spec` is what archives.toml would have to say of it; its files exist only with `keep`.
    """

    spec: ArchiveSpec
    path: Path
    size: int  # bytes
    sha256: str
    # Per kind of input the largest, "absolute" and "relative", and how many are "left_out".
    differences: dict[str, dict[str, float]]
    agreement: Agreement | None = None  # with eager's answers to the photos held out
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

    `photos`: the folder that int8 is calibrated on, and whose other photos tell how well the
    answers agree; without it the samples do both. `keep`: the folder to put the model's file into.
    Raises BuildError if a limit is not kept; then nothing is written.
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
        with zipfile.ZipFile(built.path) as file:
            file.extractall(model)
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
    """Tell whether a handler is built on the kit's, which load their model by an engine."""
    return any(Path(entry.name).name == _ENGINES_FILE for entry in entries(project, spec))


def _refuse_impossible(project: Project, spec: ArchiveSpec, kind: str, dtype: str) -> None:
    if not spec.model_file or not spec.serialized_file:
        raise BuildError(
            f"{spec.name} has no model_file with weights, so it is in an exported format already",
            "export an archive that has both",
        )
    if not spec.samples:
        raise BuildError(
            f"{spec.name} has no sample, so nothing says what its model is given",
            f"add [[archives.{spec.name}.samples]] with a request and its expected response",
        )
    if dtype not in FORMATS[kind].dtypes:
        able = [other for other, one in FORMATS.items() if dtype in one.dtypes]
        raise BuildError(
            f"{kind} has no {dtype}: its engine computes in {' or '.join(FORMATS[kind].dtypes)}",
            f"{dtype} has --format {' or '.join(able)}",
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
            f"{spec.name}'s handler knows no engines: {_ENGINES_FILE} is not among its files",
            "derive the handler from one of marsmith_handlers, or take another format",
        )


def _spec_of(
    project: Project, spec: ArchiveSpec, kind: str, dtype: str, limits: Limits
) -> ArchiveSpec:
    """Return the table of the new archive, as yet without its model's files."""
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
    """Return a spec with the model's file, and what belongs to it (OpenVINO's .bin)."""
    first, *more = map(str, files)
    return replace(spec, serialized_file=first, extra_files=(*spec.extra_files, *more))


def _keep(files: list[Path], folder: Path) -> tuple[Path, ...]:
    """Copy the model's files into a folder, each whole or not at all."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            with file.open("rb") as source, replacing(folder / file.name) as target:
                shutil.copyfileobj(source, target)
    except OSError as error:
        hint = "make room there, or name a writable folder"
        raise BuildError(f"{folder} cannot be written: {error.strerror}", hint) from error
    return tuple(folder / file.name for file in files)


def _relative(project: Project, path: Path) -> Path:
    """Return a path as archives.toml writes it: relative to the project, if it lies there."""
    whole, root = path.resolve(), project.root.resolve()
    return whole.relative_to(root) if whole.is_relative_to(root) else whole


def _run(model: Path, folder: Path, archive: Archive, job: dict[str, Any]) -> dict[str, Any]:
    """Let a process with torch do the work, in an environment as workers have it."""
    result = folder / "result.json"
    samples = [sample.request for sample in archive.samples]
    (folder / "job.json").write_text(json.dumps(job | {"samples": samples, "result": str(result)}))
    known = without_secrets(os.environ)
    environment = {k: v for k, v in known.items() if not k.startswith(("PYTHON", "TS_"))}
    process = subprocess.run(  # noqa: S603
        [sys.executable, "-s", str(_CHILD), str(folder / "job.json")],
        cwd=model,
        # With another seed sets have another order, and so had the nodes of quantised graphs.
        env=environment | {"PYTHONHASHSEED": "0", "PYTHONSAFEPATH": "1"},
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
        # With MARSMITH_DEBUG people see the cause, too.
        raise BuildError(f"{archive.name}: {found['error']}", found["hint"]) from RuntimeError(
            process.stderr
        )
    return found


def _check(
    archive: Archive, other: ArchiveSpec, found: dict[str, Any], limits: Limits, dtype: str
) -> Agreement | None:
    """Return how well the answers agree. Raises BuildError if a limit is not kept."""
    name = f"{archive.name} as {other.name.removeprefix(archive.name + '-')}"
    for where, distance in found["differences"].items():
        # Of other dtypes the answers are judged, unless the outputs are no numbers at all.
        limit = limits.outputs if dtype == "float32" else sys.float_info.max
        if distance["relative"] > limit:
            raise BuildError(
                f"{name} differs from eager by {distance['absolute']:.3g} on "
                f"{where}, {distance['relative']:.2g} of the output's largest value",
                "a model that decides by its data needs torchscript-script; or --tolerance",
            )
    answers = [base64.b64decode(one) for one in found["answers"]]
    for sample, spec, answer in zip(archive.samples, other.samples, answers, strict=True):
        judged = replace(sample, tolerance=spec.tolerance, largest=spec.largest)
        if wrong := judged.difference(archive.read(sample.response), answer):
            raise BuildError(
                f"{name} answers its sample {sample.request} wrongly: {wrong}",
                "does the archive itself answer rightly? marsmith serve"
                if dtype == "float32"
                else f"if that is right enough: --sample-tolerance above {spec.tolerance:g}",
            )
    pairs = [(base64.b64decode(one), base64.b64decode(two)) for one, two in found["pairs"]]
    if not pairs:
        return None
    agreed = agreement(pairs, max(sample.tolerance for sample in other.samples))
    if dtype != "float32" and agreed.share < limits.agreement:
        raise BuildError(
            f"{name} answers {agreed.same} of {agreed.total} photos as eager does, "
            f"{agreed.share:.1%}, less than {limits.agreement:.1%}",
            "calibrate on photos more like those that come (--calibrate), or take bfloat16; "
            "or --agreement",
        )
    return agreed
