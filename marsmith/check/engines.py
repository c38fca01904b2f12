"""Can the engine that an archive asks for run its model here?

It is about archives with `torch_engines.py`, whose handlers know handler_config.engine and dtype;
the words are those of marsmith_handlers/model_loader.py, which would raise them in the worker.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from marsmith.check.subject import Subject
from marsmith.core.errors import ArchiveError, MarsmithError
from marsmith.core.extras import extra_of, install_hint
from marsmith.core.findings import Finding
from marsmith.core.suggestions import did_you_mean
from marsmith.weights.onnx_graph import read_onnx

_ENGINES_FILE = "torch_engines.py"
_CLASS = "a model_file"
_ANY = ("float32", "bfloat16", "int8")
# Engine → the dtypes that it computes in, and the files that it takes.
ENGINES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "eager": (_ANY[:2], (_CLASS, ".pt2")),
    "compile": (_ANY[:2], (_CLASS,)),
    "torchscript": (_ANY[:2], (_CLASS, ".pt", ".pth")),
    "aotinductor": (_ANY[:2], (".pt2",)),
    "onnxruntime": (("float32", "int8"), (".onnx",)),
    "openvino": (_ANY, (".xml", ".onnx")),
}
_PACKAGES = ("onnxruntime", "openvino")  # engines that are distributions of their own
_COMPILERS = ("c++", "g++", "clang++")


def check_engine(subject: Subject) -> Iterator[Finding]:
    """Yield why the engine that the configuration names cannot run the model."""
    name = subject.manifest.serialized_file
    names = subject.archive.names
    if name not in names or not any(PurePosixPath(n).name == _ENGINES_FILE for n in names):
        return
    try:
        config = subject.archive.model_config.get("handler_config")
    except ArchiveError:
        return  # told by check_serving
    own = config if isinstance(config, dict) else {}
    engine, dtype = own.get("engine", "auto"), own.get("dtype", "float32")
    try:
        engine = _engine_of_file(subject, name) if engine == "auto" else engine
        for key, message, hint in _problems(subject, name, engine, dtype):
            yield subject.config_finding("engine", key, message, hint)
    except (MarsmithError, OSError, zipfile.BadZipFile):
        return  # a file that cannot be read is told by check_weights


def _problems(
    subject: Subject, name: str, engine: object, dtype: object
) -> Iterator[tuple[str, str, str]]:
    """Yield the key that is wrong, why, and what to do about it."""
    if not isinstance(engine, str) or engine not in ENGINES:
        yield "engine", f"there is no engine {engine!r}", _close(engine, ["auto", *ENGINES])
        return
    dtypes, files = ENGINES[engine]
    if not isinstance(dtype, str) or dtype not in _ANY:
        yield "dtype", f"there is no dtype {dtype!r}", _close(dtype, list(_ANY))
    elif dtype not in dtypes:
        message = f"engine {engine!r} has no {dtype!r}: it computes in {' or '.join(dtypes)}"
        able = [other for other, (known, _) in ENGINES.items() if dtype in known]
        yield "dtype", message, f"{dtype} has engine {' or '.join(able)}"
    has_class = subject.manifest.model_file is not None
    given = _CLASS if has_class else PurePosixPath(name).suffix
    if given not in files:
        message = f"engine {engine!r} does not run {given}: it takes {' or '.join(files)}"
        yield "engine", message, 'marsmith export writes it; or engine = "auto"'
    elif dtype in dtypes:
        yield from _file_problems(subject, name, engine, str(dtype))
    if engine in _PACKAGES and find_spec(engine) is None:
        yield "engine", f"engine {engine!r} is not installed", _installing(engine)
    if engine == "compile" and not any(map(shutil.which, _COMPILERS)):
        message = "engine 'compile' needs a C++ compiler, and there is none here"
        yield "engine", message, "apt-get install g++; or another engine"


def _installing(engine: str) -> str:
    extra = extra_of(engine)
    return install_hint(extra) if extra else f"pip install {engine}"


def _close(value: object, known: list[str]) -> str:
    return did_you_mean(str(value), known)


def _file_problems(
    subject: Subject, name: str, engine: str, dtype: str
) -> Iterator[tuple[str, str, str]]:
    """Yield what the file itself has against its engine or dtype."""
    path = PurePosixPath(name)
    if path.suffix == ".xml" and str(path.with_suffix(".bin")) not in subject.archive.names:
        message = f"{name} lacks its values: {path.stem}.bin is not in the archive"
        yield "engine", message, "add the .bin to extra_files"
    if path.suffix == ".pt2" and (_default(subject, name) == "aotinductor") != (
        engine == "aotinductor"
    ):
        message = f"engine {engine!r} does not run {name}: it is for {_default(subject, name)}"
        yield "engine", message, 'marsmith export writes it; or engine = "auto"'
    if path.suffix in (".xml", ".onnx") and _is_quantised(subject, name) != (dtype == "int8"):
        message = f"dtype is {dtype!r}, and {name} is {'not ' * (dtype == 'int8')}quantised to int8"
        yield "dtype", message, "marsmith export NAME --dtype int8 writes one that is"


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
