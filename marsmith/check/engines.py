"""Check that an archive's engine can run its model on this machine.

This concerns archives with `torch_engines.py`, whose handlers read handler_config.engine and dtype.
In a worker, marsmith_handlers/model_loader.py raises the same problems.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from marsmith.check.subject import Subject
from marsmith.core.errors import ArchiveError, MarsmithError
from marsmith.core.extras import extra_of, install_hint
from marsmith.core.findings import Finding
from marsmith.core.installed import is_installed
from marsmith.core.suggestions import did_you_mean
from marsmith.project.find_modules import has_engines
from marsmith.weights.onnx_graph import read_onnx

_CLASS = "a model_file"
_TORCH = ("float32", "bfloat16", "float16")
# Engine → its dtypes, and the files that it runs.
ENGINES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "eager": (_TORCH, (_CLASS, ".pt2")),
    "compile": (_TORCH, (_CLASS,)),
    "torchscript": (_TORCH, (_CLASS, ".pt", ".pth")),
    "aotinductor": (("float32", "bfloat16"), (".pt2",)),
    "onnxruntime": (("float32", "int8"), (".onnx",)),
    "openvino": (("float32", "bfloat16", "int8"), (".xml", ".onnx")),
}
_DTYPES = sorted({dtype for dtypes, _ in ENGINES.values() for dtype in dtypes})
_PACKAGES = ("onnxruntime", "openvino")  # engines that are distributions
_COMPILERS = ("c++", "g++", "clang++")


def check_engine(subject: Subject) -> Iterator[Finding]:
    """Yield why the engine that the configuration names cannot run the model."""
    name = subject.manifest.serialized_file
    names = subject.archive.names
    if name not in names or not has_engines(names):
        return
    try:
        serving = subject.archive.model_config
    except ArchiveError:
        return  # reported by check_serving
    config, on_gpu = serving.get("handler_config"), serving.get("deviceType") == "gpu"
    own = config if isinstance(config, dict) else {}
    engine, dtype = own.get("engine", "auto"), own.get("dtype", "float32")
    try:
        engine = _engine_of_file(subject, name) if engine == "auto" else engine
        device_problem = _device_problem(engine, dtype, on_gpu=on_gpu)
        for key, message, hint in (*_problems(subject, name, engine, dtype), *device_problem):
            yield subject.config_finding(key, message, hint, rule="engine")
    except (MarsmithError, OSError, zipfile.BadZipFile):
        return  # check_weights reports a file that cannot be read


def _problems(
    subject: Subject, name: str, engine: object, dtype: object
) -> Iterator[tuple[str, str, str]]:
    """Yield the wrong key, a message and a hint."""
    if not isinstance(engine, str) or engine not in ENGINES:
        yield "engine", f"there is no engine {engine!r}", _close(engine, ["auto", *ENGINES])
        return
    dtypes, files = ENGINES[engine]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        yield "dtype", f"there is no dtype {dtype!r}", _close(dtype, _DTYPES)
    elif dtype not in dtypes:
        message = f"engine {engine!r} does not support {dtype!r}, only {' and '.join(dtypes)}"
        able = [other for other, (known, _) in ENGINES.items() if dtype in known]
        yield "dtype", message, f"set engine to {' or '.join(able)}, which support {dtype}"
    has_class = subject.manifest.model_file is not None
    given = _CLASS if has_class else PurePosixPath(name).suffix
    if given not in files:
        message = f"engine {engine!r} does not run {given}, only {' or '.join(files)}"
        yield "engine", message, 'write one with marsmith export, or set engine = "auto"'
    elif dtype in dtypes:
        yield from _file_problems(subject, name, engine, str(dtype))
    if engine in _PACKAGES and not is_installed(engine):
        yield "engine", f"engine {engine!r} is not installed", _installing(engine)
    if engine == "compile" and not any(map(shutil.which, _COMPILERS)):
        message = "engine 'compile' needs a C++ compiler, and none is installed here"
        yield "engine", message, "install one, such as g++, or choose another engine"


def _device_problem(
    engine: object, dtype: object, *, on_gpu: bool
) -> Iterator[tuple[str, str, str]]:
    if on_gpu and engine in _PACKAGES:
        message = f"engine {engine!r} computes on the CPU, and deviceType is 'gpu'"
        yield "engine", message, 'set deviceType = "cpu", or export the model for another engine'
    if dtype == "float16" and not on_gpu:
        message = "dtype 'float16' needs a GPU, and deviceType is not 'gpu'"
        yield "dtype", message, 'set deviceType = "gpu", or take bfloat16'


def _installing(engine: str) -> str:
    extra = extra_of(engine)
    return install_hint(extra) if extra else f"pip install {engine}"


def _close(value: object, known: list[str]) -> str:
    return did_you_mean(str(value), known)


def _file_problems(
    subject: Subject, name: str, engine: str, dtype: str
) -> Iterator[tuple[str, str, str]]:
    """Yield why the file does not fit its engine or dtype."""
    path = PurePosixPath(name)
    if path.suffix == ".xml" and str(path.with_suffix(".bin")) not in subject.archive.names:
        message = f"{name} has no values: {path.stem}.bin is not in the archive"
        yield "engine", message, f"add {path.stem}.bin to extra_files"
    if path.suffix == ".pt2" and (_default(subject, name) == "aotinductor") != (
        engine == "aotinductor"
    ):
        message = f"engine {engine!r} does not run {name}: it is for {_default(subject, name)}"
        yield "engine", message, 'write one with marsmith export, or set engine = "auto"'
    if path.suffix in (".xml", ".onnx") and _is_quantised(subject, name) != (dtype == "int8"):
        message = f"dtype is {dtype!r}, and {name} is {'not ' * (dtype == 'int8')}quantised to int8"
        fitting = "float32" if dtype == "int8" else "int8"
        yield "dtype", message, f"set dtype to {fitting}, or export the model again"


def _engine_of_file(subject: Subject, name: str) -> str:
    return "eager" if subject.manifest.model_file else _default(subject, name)


def _default(subject: Subject, name: str) -> str:
    ending = PurePosixPath(name).suffix
    if ending != ".pt2":
        return {".onnx": "onnxruntime", ".xml": "openvino"}.get(ending, "torchscript")
    with tempfile.TemporaryDirectory(prefix="marsmith-engine-") as folder:
        path = Path(folder) / "model.pt2"
        subject.archive.copy(name, path)
        with zipfile.ZipFile(path) as file:
            machine_code = any(entry.endswith(".so") for entry in file.namelist())
    return "aotinductor" if machine_code else "eager"


def _is_quantised(subject: Subject, name: str) -> bool:
    if name.endswith(".xml"):
        return re.search(rb'type="FakeQuantize"', subject.archive.read(name)) is not None
    with tempfile.TemporaryDirectory(prefix="marsmith-engine-") as folder:
        path = Path(folder) / "model.onnx"
        subject.archive.copy(name, path)
        return "QuantizeLinear" in read_onnx(path).operators
