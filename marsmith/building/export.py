"""Export a model for another engine into an archive, and compare it with eager PyTorch."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from marsmith.answers.agreement import Agreement
from marsmith.archive.reader import Archive
from marsmith.building.building import build
from marsmith.building.calibration import Photos, split_photos
from marsmith.building.export_formats import FORMATS
from marsmith.building.export_limits import Limits, require_agreement
from marsmith.building.export_process import run_export
from marsmith.building.writer import write_archive
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import BuildError
from marsmith.core.extras import MODULES
from marsmith.core.installed import require
from marsmith.project.accepted_code import accepted_by, refuse_code
from marsmith.project.entries import entries
from marsmith.project.find_modules import has_engines
from marsmith.project.project import Project
from marsmith.project.spec import ArchiveSpec


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
        found = run_export(model, Path(folder), archive, job)
        agreed = require_agreement(archive, other, found, limits, dtype)
        sha256 = write_archive(project, _with_files(other, [model / file for file in files]))
        kept = _keep([model / file for file in files], keep) if keep else ()
    path = project.model_store / f"{other.name}.mar"
    size = path.stat().st_size
    placed = [_relative(project, one) for one in kept]
    described = _with_files(other, placed or [Path(file) for file in files])
    return Exported(described, path, size, sha256, found["differences"], agreed, kept)


def knows_engines(project: Project, spec: ArchiveSpec) -> bool:
    """Return whether a handler is derived from marsmith_handlers, which load models by engines."""
    return has_engines(entry.name for entry in entries(project, spec))


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
            f"{spec.name}'s handler loads no engines: it is not one of marsmith_handlers",
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
