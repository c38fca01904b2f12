"""Find the engines and dtypes that can serve a model on this machine."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from marsmith.building.calibration import digest, split_photos
from marsmith.building.export import export, knows_engines
from marsmith.building.export_formats import FORMATS
from marsmith.building.export_limits import Limits
from marsmith.core.installed import is_installed
from marsmith.project.entries import entries
from marsmith.project.project import Project
from marsmith.project.spec import ArchiveSpec
from marsmith.tune.space import Variant

ENGINES = ("eager", "compile", "torchscript", "aotinductor", "onnxruntime", "openvino")
# Engines that run the weights themselves, and the formats for the others. Of TorchScript's two
# formats, tracing needs no change of the model; export checks the result.
_WITHOUT_FILE = ("eager", "compile")
_KINDS = ("torchscript-trace", "aotinductor", "onnx", "openvino")
_NEEDS = {"onnxruntime": "onnxruntime", "openvino": "openvino"}


@dataclass(frozen=True)
class Calibration:
    """The photos that calibrate and test int8, and the share that must agree."""

    photos: Path
    agreement: float = Limits.agreement

    @property
    def digest(self) -> str:
        """A digest of photos and agreement. Raises BuildError if there are too few photos."""
        return f"{digest(split_photos(self.photos))}-{self.agreement:g}"


def variants(
    project: Project,
    spec: ArchiveSpec,
    engines: tuple[str, ...] = ENGINES,
    calibration: Calibration | None = None,
) -> tuple[Variant, ...]:
    """Return the variants to try: the present one, and one for each installed engine and dtype.

    An archive without model_file and weights, or with a handler that has no engines, only has the
    present one. int8 needs a `calibration`, since samples are too few to compare it with eager.
    Nothing is exported yet. Raises BuildError if there are too few photos.
    """
    found = [Variant()]
    exportable = spec.model_file and spec.serialized_file
    if not (exportable and knows_engines(project, spec)):
        return tuple(found)
    for engine in _WITHOUT_FILE:
        found += [Variant(engine, dtype) for dtype in ("float32", "bfloat16")]
    folder = _folder(project, spec).relative_to(project.root)
    calibrated = folder / calibration.digest if calibration else None
    for kind in _KINDS:
        form = FORMATS[kind]
        for dtype in form.dtypes:
            stem = "-".join([spec.name, kind, *([dtype] if dtype != "float32" else [])])
            place = calibrated if dtype == "int8" else folder
            if place is not None:
                files = tuple(str(place / f"{stem}{ending}") for ending in form.endings)
                found.append(Variant(form.engine, dtype, kind, files))
    now = (spec.handler_config.get("engine", "eager"), spec.handler_config.get("dtype", "float32"))
    return tuple(
        one
        for one in found
        if one.engine is None
        or (one.engine in engines and (one.engine, one.dtype) != now and _installed(one.engine))
    )


def make(
    project: Project, spec: ArchiveSpec, variant: Variant, calibration: Calibration | None = None
) -> None:
    """Export the files of a variant, unless they exist.

    Raises BuildError if the model cannot be exported, or its answers differ from eager.
    """
    files = [project.root / file for file in variant.files]
    if variant.kind and not all(file.exists() for file in files):
        judged = calibration if variant.dtype == "int8" else None
        export(
            project,
            spec.name,
            variant.kind,
            dtype=str(variant.dtype),
            photos=judged.photos if judged else None,
            keep=files[0].parent,
            limits=Limits(agreement=judged.agreement) if judged else None,
        )


def forget_files_of_others(project: Project, spec: ArchiveSpec, inputs: str) -> None:
    """Remove files that were exported for `inputs` (a digest) other than these."""
    folder = _folder(project, spec)
    mark = folder / "inputs"
    if mark.exists() and mark.read_text() == inputs:
        return
    shutil.rmtree(folder)
    folder.mkdir()
    mark.write_text(inputs)


def _folder(project: Project, spec: ArchiveSpec) -> Path:
    return project.state_folder(f"tune/{spec.name}-files")


def _installed(engine: str) -> bool:
    return engine not in _NEEDS or is_installed(_NEEDS[engine])


def reads(project: Project, spec: ArchiveSpec, key: str) -> bool:
    """Return whether a Python file of an archive names a key, and so probably reads it."""
    word = re.compile(rf"\b{re.escape(key)}\b")
    files = (one.file for one in entries(project, spec) if one.file.suffix == ".py")
    return any(word.search(path.read_text(encoding="utf-8", errors="replace")) for path in files)
