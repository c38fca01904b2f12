"""Archives that others made, in their own ways: they run, and nothing wrong is found in them.

What TorchServe 0.12 itself takes and refuses was seen by registering such archives with it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import py_compile
import subprocess
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from marsmith.archive.reader import Archive
from marsmith.check import memory
from marsmith.check.checking import Checked, check
from marsmith.check.targets import Target, targets
from marsmith.inspect.summary import inspect
from marsmith.worker.runtime import Runtime
from tests.integration.kit import BIN, Kit, leftovers

Files = Mapping[str, str | bytes]

FUNCTION = """
def handle(data, context):
    if data is None:
        return None
    return [{"bytes": len(row.get("body") or row.get("data") or b"")} for row in data]
"""


@pytest.fixture(autouse=True)
def _no_patience_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether memory grows is for tests/defects; here every second goes by many times."""
    monkeypatch.setattr(memory, "_PATIENCE", 0.0)


@pytest.fixture
def clean(temporary_folder: Path) -> Iterator[None]:
    """Nothing is left of temporary files at the end, nor of processes."""
    yield
    assert leftovers(str(temporary_folder)) == []
    assert list(temporary_folder.iterdir()) == []


def manifest(name: str, handler: str, **model: Any) -> dict[str, Any]:
    values = {"modelName": name, "handler": handler, "modelVersion": "1.0", **model}
    return {"createdOn": "01/02/2021 10:11:12", "runtime": "python", "model": values}


def write(folder: Path, name: str, files: Files, values: object) -> Path:
    path = folder / f"{name}.mar"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in files.items():
            archive.writestr(entry, content)
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(values))
    return path


def checked(path: Path, timeout: float = 60) -> Checked:
    (target,) = targets((str(path),), lambda: pytest.fail("no project is asked for"))
    return check(target, timeout=timeout)


def rules(path: Path, timeout: float = 60) -> list[str]:
    return [finding.rule for finding in checked(path, timeout).findings]


def assert_sound(path: Path) -> None:
    """Without a sample, that is the one thing to be said of it; and nothing is unreadable."""
    assert rules(path) == []
    assert inspect(Archive(path)).problems == {}


def torchscript() -> bytes:
    model, buffer = nn.Linear(2, 3).eval(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(model, torch.ones(1, 2)), buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


# ---- torch-model-archiver


HANDLER = '''
import json
import logging
import os
import py_compile
import sys
from abc import ABC

import torch
from ts.torch_handler.base_handler import BaseHandler

from helpers import Mixin, Options
from package import deep
from package.below.tool import Kind, double

logger = logging.getLogger(__name__)
print("imported")


class Own(Mixin, BaseHandler, ABC):
    """Does what handlers do: writes, prints, reads relative paths, looks for a GPU."""

    def initialize(self, context):
        properties = context.system_properties
        gpu = properties.get("gpu_id")
        on_gpu = torch.cuda.is_available() and gpu is not None
        self.device = torch.device(f"cuda:{gpu}" if on_gpu else "cpu")
        folder = properties.get("model_dir")
        path = os.path.join(folder, context.manifest["model"]["serializedFile"])
        self.model = torch.jit.load(path, map_location=self.device).eval()
        with open(os.path.join(folder, "cache.txt"), "w") as file:
            file.write("cached")
        os.makedirs("scratch/deep", exist_ok=True)
        self.words = json.load(open("data/words.json"))
        self.options = Options(3)
        print("no end of line", end="")
        sys.stderr.write("and the other stream")
        self.initialized = True

    def handle(self, data, context):
        print("handling", len(data))
        logger.info("%d requests", len(data))
        size = len(data[0].get("body") or data[0].get("data"))
        with torch.no_grad():
            output = self.model(torch.ones(len(data), 2))
        answer = [self.words, Kind.A.value, self.options.size, deep.VALUE, self.mixed()]
        return [[*answer, double(size), len(row)] for row in output.tolist()]
'''
EXTRA: dict[str, str] = {
    "extra/data/words.json": '["a", "b"]',
    "extra/package/__init__.py": "",
    "extra/package/deep.py": "from . import other\nfrom .below import tool\nVALUE = other.VALUE\n",
    "extra/package/other.py": "VALUE = 5\n",
    "extra/package/below/__init__.py": "from enum import Enum\n",
    "extra/package/below/tool.py": "from ..other import VALUE\nfrom . import Enum\n\n\n"
    "class Kind(Enum):\n    A = 'a'\n\n\ndef double(n):\n    return 2 * n\n",
    "extra/helpers.py": "from dataclasses import dataclass\n\n\n@dataclass\nclass Options:\n"
    "    size: int\n\n\nclass Mixin:\n    def mixed(self):\n        return 'm'\n",
}
ANSWER = [["a", "b"], "a", 3, 5, "m", 2, 3]


@pytest.mark.parametrize("form", ["default", "zip-store", "tgz", "no-archive"])
def test_every_form_of_torch_model_archiver(tmp_path: Path, form: str) -> None:
    for name, text in {**EXTRA, "own.py": HANDLER}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "model.pth").write_bytes(torchscript())  # the ending is its handler's affair
    (tmp_path / "requirements.txt").write_text("numpy>=1\npillow\n")
    command = [str(BIN / "torch-model-archiver"), "--model-name", "own", "--version", "1"]
    command += ["--handler", "own.py", "--serialized-file", "model.pth", "--extra-files", "extra"]
    command += ["--requirements-file", "requirements.txt", "--archive-format", form]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command += ["--export-path", "out"]
    (tmp_path / "out").mkdir()
    subprocess.run(command, cwd=tmp_path, check=True, env=environment)
    path = tmp_path / "out" / {"tgz": "own.tar.gz", "no-archive": "own"}.get(form, "own.mar")
    assert rules(path) == []
    kit = Kit(tmp_path)
    if form in ("default", "no-archive"):
        (tmp_path / "one.txt").write_text("x")
        assert [row["answer"] for row in kit.json("run", path, tmp_path / "one.txt")] == [ANSWER]
        assert "TorchScript" in kit("inspect", path).stdout


# ---- manifests


def test_manifests_of_every_age(tmp_path: Path) -> None:
    old = manifest("old", "own")
    del old["runtime"], old["createdOn"]
    old |= {"specificationVersion": "1.0", "implementationVersion": "1.0", "license": "Apache 2.0"}
    old |= {"archiverVersion": 0.1}
    old["model"] |= {"modelVersion": 2, "description": "no longer read", "extensions": {"a": 1}}
    assert_sound(write(tmp_path, "old", {"own.py": FUNCTION}, old))
    path = write(tmp_path, "sha", {"own.py": FUNCTION}, manifest("sha", "x/own.py"))
    assert_sound(path)
    unnamed = manifest("bare", "own.py")
    del unnamed["model"]["modelVersion"]
    bare = write(tmp_path, "bare", {"own.py": FUNCTION}, unnamed)
    assert rules(bare) == ["manifest-version"]


@pytest.mark.parametrize(
    ("handler", "file", "function"),
    [
        ("own.py:serve", "own.py", "serve"),
        ("own:serve", "own.py", "serve"),
        ("package.own", "package/own.py", "handle"),
        ("own", "own/__init__.py", "handle"),
    ],
)
def test_handlers_are_named_as_torchserve_imports_them(
    tmp_path: Path, handler: str, file: str, function: str
) -> None:
    text = FUNCTION.replace("def handle", f"def {function}")
    path = write(tmp_path, "own", {file: text}, manifest("own", handler))
    assert rules(path) == []


def test_torchserves_other_handlers_are_its_own_too(tmp_path: Path) -> None:
    model = "from torch import nn\n\n\nclass Model(nn.Linear):\n    def __init__(self):\n"
    model += "        super().__init__(2, 3)\n"
    weights = io.BytesIO()
    torch.save(nn.Linear(2, 3).state_dict(), weights)
    files: Files = {"model.py": model, "model.pth": weights.getvalue()}
    named = {"modelFile": "model.py", "serializedFile": "model.pth"}
    path = write(tmp_path, "own", files, manifest("own", "densenet_handler", **named))
    assert rules(path) == ["no-answer"]  # it is loaded, and takes two numbers, no picture
    path = write(tmp_path, "own", files, manifest("own", "base_handler.py", **named))
    (finding,) = checked(path).findings
    assert (finding.rule, finding.hint) == ("manifest-file", "did you mean 'base_handler'?")


# ---- code that only a load can judge


def zipped(files: Files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


IMPORTS = """
import os
import py_compile
import sys
import uuid
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING

import torch
from torch.hub import load_state_dict_from_url
from torchvision import models

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "library"))
import in_library

with zipfile.ZipFile("code.zip") as archive:
    archive.extractall(".")
import in_zip

if torch.cuda.is_available():
    import tensorrt
with suppress(ImportError):
    import orjson
if sys.version_info < (3, 0):
    import urllib2
if TYPE_CHECKING:
    class Protocol: ...


def pretrained(pretrained=False):
    return load_state_dict_from_url("http://a.example/b.pth") if pretrained else None


def build():
    return models.resnet18(pretrained=True)


def train():
    build()


class Service:
    def __init__(self, size, *, mode):
        self.size = size


class Second:
    pass


service = Service(3, mode="a")


def handle(data, context):
    if data is None:
        return None
    return [{"size": service.size, "id": str(uuid.uuid4())} for _ in data]


if __name__ == "__main__":
    train()
"""


def test_imports_downloads_and_classes_that_never_matter(tmp_path: Path) -> None:
    files: Files = {
        "own.py": IMPORTS,
        "library/in_library.py": "import old_python\n",
        "library/old_python.py": "print('new')\n",
        "old.py": "print 'never imported'\n",
        "code.zip": zipped({"in_zip/__init__.py": ""}),
        "model.py": "class One:\n    pass\n\n\nclass Two(One):\n    def __init__(self, a): ...\n",
        "config.yaml": "batchSize: 4\nbatch_sizes: [1]\n",
        "ca.pem": "-----BEGIN CERTIFICATE-----\n",
        ".env.example": "TOKEN=\n",
    }
    files = {**files, "reads.py": "KEY = 'batch_sizes'\n"}
    values = manifest("own", "own.py", modelFile="model.py", configFile="config.yaml")
    assert rules(write(tmp_path, "own", files, values)) == []


LOADS = """
import pickle

import torch


def handle(data, context):
    global model
    if data is None:
        name = context.manifest["model"]["serializedFile"]
        model = {load}
        return None
    return ["answer" for _ in data]
"""


def saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("masked.pth", "torch.load(name)"),
        ("other.pkl", "pickle.load(open(name, 'rb'))"),
        ("script.pt", "torch.jit.load(name)"),
    ],
)
def test_weights_that_only_their_handler_knows(tmp_path: Path, name: str, load: str) -> None:
    mask = torch.triu(torch.full((4, 4), float("-inf")), 1)
    content = {
        "masked.pth": saved({"weight": torch.ones(2), "mask": mask}),
        "other.pkl": b"\x80\x04]\x94.",
        "script.pt": torchscript(),
    }
    files: Files = {
        "own.py": LOADS.replace("{load}", load),
        "model.py": "class Model: ...\n",
        name: content[name],
    }
    values = manifest("own", "own.py", modelFile="model.py", serializedFile=name)
    assert rules(write(tmp_path, "own", files, values)) == []


def test_a_whole_module_is_code_until_it_is_accepted(tmp_path: Path) -> None:
    whole = saved(nn.Linear(2, 2))
    text = LOADS.replace("{load}", "torch.load(name, weights_only=False)")
    values = manifest("own", "own.py", serializedFile="whole.pth")
    path = write(tmp_path, "own", {"own.py": text, "whole.pth": whole}, values)
    assert rules(path) == ["weights-execute"]
    digest = f"sha256:{hashlib.sha256(whole).hexdigest()}"
    assert check(Target("own", path), timeout=60, accept=[digest]).errors == 0


def test_what_a_requirements_file_may_bring_is_not_called_missing(tmp_path: Path) -> None:
    files: Files = {
        "own.py": "import cv2\n" + FUNCTION,
        "requirements.txt": "opencv-python==4.1 # old\ngit+https://example.com/a/b.git@v1\n",
    }
    values = manifest("own", "own.py", requirementsFile="requirements.txt")
    found = rules(write(tmp_path, "own", files, values))
    assert sorted(found) == ["not-installed", "requirement-source"]


def test_envelopes_and_bytecode(tmp_path: Path) -> None:
    text = "def handle(data, context):\n    return [len(row) for row in data or ()]\n"
    path = write(tmp_path, "own", {"own.py": text}, manifest("own", "own.py", envelope="json"))
    with Runtime(path) as run:
        answer = run.predict(b'{"instances": [[1, 2], [3]]}', content_type="application/json")
    assert answer.json() == {"predictions": [2, 1]}
    (tmp_path / "compiled.py").write_text("VALUE = 1\n")
    py_compile.compile(str(tmp_path / "compiled.py"), str(tmp_path / "compiled.pyc"))
    files: Files = {
        "own.py": "import compiled\n" + FUNCTION,
        "compiled.pyc": (tmp_path / "compiled.pyc").read_bytes(),
    }
    assert rules(write(tmp_path, "own", files, manifest("own", "own.py"))) == []


def test_micro_batching(tmp_path: Path) -> None:
    text = (
        "from ts.handler_utils.micro_batching import MicroBatching\n"
        "from ts.torch_handler.base_handler import BaseHandler\n\n\n"
        "class Own(BaseHandler):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.handle = MicroBatching(self, micro_batch_size=2)\n\n"
        "    def initialize(self, context):\n        self.initialized = True\n\n"
        "    def preprocess(self, data):\n        return [len(row['body']) for row in data]\n\n"
        "    def inference(self, data):\n        return [2 * size for size in data]\n\n"
        "    def postprocess(self, data):\n        return data\n"
    )
    files: Files = {"own.py": text, "config.yaml": "batchSize: 4\nmicro_batching: {size: 2}\n"}
    values = manifest("own", "own.py", configFile="config.yaml")
    assert rules(write(tmp_path, "own", files, values)) == []


# ---- hostile ones: told, bounded in time and memory, and nothing is left of them


ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(12)
)
STATIC: dict[str, tuple[str, Files, object]] = {
    "deep": ("manifest-unreadable", {}, None),
    "number": ("manifest-unreadable", {}, manifest("number", 5)),  # type: ignore[arg-type]
    "list": ("manifest-unreadable", {}, {"model": []}),
    "outside": ("manifest-file", {}, manifest("outside", "own", serializedFile="../../x")),
    "aliases": (
        "serving-unreadable",
        {"c.yaml": f"{ALIASES}minWorkers: *j\n"},
        manifest("aliases", "own", configFile="c.yaml"),
    ),
    "itself": (
        "serving-unreadable",
        {"c.yaml": "minWorkers: &a [*a]\n"},
        manifest("itself", "own", configFile="c.yaml"),
    ),
    "empty": ("serving-unreadable", {"c.yaml": ""}, manifest("empty", "own", configFile="c.yaml")),
    "both": ("duplicate-entry", {"a": "", "a/b": ""}, manifest("both", "own")),
}


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("name", STATIC)
def test_hostile_files_are_told(tmp_path: Path, name: str) -> None:
    rule, files, values = STATIC[name]
    path = write(tmp_path, name, {"own.py": FUNCTION, **files}, values)
    if name == "deep":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("MAR-INF/MANIFEST.json", "[" * 100_000)
    assert rules(path) == [rule]


MARK = "612.3"  # seconds, which nobody else sleeps
HOSTILE = {
    "leaves": (
        "import os, subprocess\n"
        f"subprocess.Popen(['sleep', '{MARK}'], start_new_session=True)\n" + FUNCTION,
        [],
    ),
    "hangs": ("while True:\n    pass\n", ["classes"]),
    "notes": (
        "open('../../notes.json', 'w').write('{\"calls\": [5]}')\n" + FUNCTION,
        [],
    ),
    "ids": (
        "def handle(data, context):\n    if data:\n        context.request_ids[0] = 'other'\n"
        "        return ['a']\n",
        ["answer-type"],
    ),
    "nests": (f"{FUNCTION}\nx = {' + '.join('1' * 20_000)}\n", ["load"]),
}


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_code_is_bounded_and_nothing_of_it_stays(tmp_path: Path, name: str) -> None:
    text, expected = HOSTILE[name]
    path = write(tmp_path, name, {"own.py": text}, manifest(name, "own.py"))
    assert rules(path, timeout=4 if name == "hangs" else 60) == expected
    assert leftovers(MARK) == []
