"""In which forms a model can be served here: engines and dtypes that are installed and pass."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from marsmith.contents import sources
from marsmith.exporting import ENGINES_FILE, FORMATS, export
from marsmith.project import Project
from marsmith.spec import ArchiveSpec
from marsmith.tuning_space import Variant

ENGINES = ("eager", "compile", "torchscript", "aotinductor", "onnxruntime", "openvino")
# Those that run the weights as they are, and the formats that the others want: of TorchScript
# the one that needs no change to a model, which export proves.
_WITHOUT_FILE = ("eager", "compile")
_KINDS = ("torchscript-trace", "aotinductor", "onnx", "openvino")
_NEEDS = {"onnxruntime": "onnxruntime", "openvino": "openvino"}


def variants(
    project: Project, spec: ArchiveSpec, engines: tuple[str, ...] = ENGINES
) -> tuple[Variant, ...]:
    """Return the forms worth trying: the present one, and with each engine that is installed.

    Only of an archive that has weights with their model_file, and a handler that knows engines;
    others are served as they are. int8 is left out: how well it agrees with eager takes photos
    to tell (marsmith export --calibrate), and samples are too few. Nothing is exported yet.
    """
    found = [Variant()]
    knows = any(Path(file).name == ENGINES_FILE for file in spec.extra_files)
    if not (knows and spec.model_file and spec.serialized_file):
        return tuple(found)
    for engine in _WITHOUT_FILE:
        found += [Variant(engine, dtype) for dtype in ("float32", "bfloat16")]
    for kind in _KINDS:
        form = FORMATS[kind]
        for dtype in form.dtypes:
            stem = "-".join([spec.name, kind, *([dtype] if dtype != "float32" else [])])
            folder = _folder(project, spec).relative_to(project.root)
            files = tuple(str(folder / f"{stem}{ending}") for ending in form.endings)
            if dtype != "int8":
                found.append(Variant(form.engine, dtype, kind, files))
    now = (spec.handler_config.get("engine", "eager"), spec.handler_config.get("dtype", "float32"))
    return tuple(
        one
        for one in found
        if one.engine is None
        or (one.engine in engines and (one.engine, one.dtype) != now and _installed(one.engine))
    )


def make(project: Project, spec: ArchiveSpec, variant: Variant) -> None:
    """Export the files of a variant, unless they are there.

    Raises BuildError if the model cannot be exported, or answers otherwise than eager does.
    """
    files = [project.root / file for file in variant.files]
    if variant.kind and not all(file.exists() for file in files):
        export(project, spec.name, variant.kind, dtype=str(variant.dtype), keep=files[0].parent)


def forget_files_of_others(project: Project, spec: ArchiveSpec, inputs: str) -> None:
    """Remove what was exported of other `inputs` than these, which are a digest."""
    folder = _folder(project, spec)
    mark = folder / "inputs"
    if mark.exists() and mark.read_text() == inputs:
        return
    for file in folder.iterdir():
        file.unlink()
    mark.write_text(inputs)


def _folder(project: Project, spec: ArchiveSpec) -> Path:
    return project.state_folder(f"tune/{spec.name}-files")


def _installed(engine: str) -> bool:
    return engine not in _NEEDS or importlib.util.find_spec(_NEEDS[engine]) is not None


def reads(project: Project, spec: ArchiveSpec, key: str) -> bool:
    """Whether a Python file of an archive speaks of a key, and so is likely to read it."""
    word = re.compile(rf"\b{re.escape(key)}\b")
    files = (path for _, _, path in sources(project, spec) if path.suffix == ".py")
    return any(word.search(path.read_text(encoding="utf-8", errors="replace")) for path in files)
