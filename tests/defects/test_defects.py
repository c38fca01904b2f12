"""One defect a project: `marsmith check` must find it, and nothing else."""

from __future__ import annotations

import glob
import io
import json
import os
import pickle
import stat
import subprocess
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from marsmith.archive.manifest import MANIFEST_FILE
from marsmith.archive.reader import Archive
from marsmith.check.checking import Checked
from marsmith.worker.runtime import Runtime
from tests.projects import Tiny, new_model

Defect = Callable[[Tiny], Checked]
DEFECTS: dict[str, tuple[Defect, str, str, str]] = {}


def finds(rule: str, value: str = "", severity: str = "error") -> Callable[[Defect], Defect]:
    """Register a defect with the rule that finds it, and a value that the finding must name."""

    def register(defect: Defect) -> Defect:
        DEFECTS[defect.__name__] = (defect, rule, value, severity)
        return defect

    return register


@pytest.mark.parametrize("name", DEFECTS)
def test_the_defect_is_found_and_nothing_else(name: str, tmp_path: Path) -> None:
    defect, rule, value, severity = DEFECTS[name]
    found = defect(Tiny(tmp_path)).findings
    told = [(one.rule, one.severity.value, one.message) for one in found]
    assert [one[:2] for one in told] == [(rule, severity)], told
    assert value in f"{found[0].location}: {found[0].message}; {found[0].hint}", found
    assert found[0].hint


def test_there_are_at_least_forty() -> None:
    assert len(DEFECTS) >= 40


def manifest(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, bytes]], None]:
    def edit(entries: dict[str, bytes]) -> None:
        values = json.loads(entries[MANIFEST_FILE])
        change(values)
        entries[MANIFEST_FILE] = json.dumps(values).encode()

    return edit


def with_manifest(tiny: Tiny, change: Callable[[dict[str, Any]], None]) -> Checked:
    return tiny.check(tiny.rezip(manifest(change)))


# ---- manifest


@finds("manifest-missing")
def no_manifest(tiny: Tiny) -> Checked:
    return tiny.check(tiny.rezip(lambda entries: entries.__delitem__(MANIFEST_FILE)))


@finds("manifest-unreadable")
def manifest_is_no_json(tiny: Tiny) -> Checked:
    return tiny.check(tiny.rezip(lambda entries: entries.update({MANIFEST_FILE: b"{"})))


@finds("manifest-file", "'handle.py'")
def handler_is_absent(tiny: Tiny) -> Checked:
    return with_manifest(tiny, lambda values: values["model"].update(handler="handle.py"))


@finds("manifest-file", "'models.py'")
def model_file_is_absent(tiny: Tiny) -> Checked:
    return with_manifest(tiny, lambda values: values["model"].update(modelFile="models.py"))


@finds("manifest-file", "'weights.pth'")
def weights_are_absent(tiny: Tiny) -> Checked:
    return with_manifest(tiny, lambda values: values["model"].update(serializedFile="weight.pth"))


@finds("manifest-version", severity="warning")
def version_is_missing(tiny: Tiny) -> Checked:
    return with_manifest(tiny, lambda values: values["model"].pop("modelVersion"))


@finds("manifest-version", "'latest/one'")
def version_is_none(tiny: Tiny) -> Checked:
    return with_manifest(tiny, lambda values: values["model"].update(modelVersion="latest/one"))


@finds("manifest-runtime", "'java'")
def runtime_is_unknown(tiny: Tiny) -> Checked:
    return with_manifest(tiny, lambda values: values.update(runtime="java"))


@finds("manifest-name", "'tiny'", "warning")
def file_has_another_name(tiny: Tiny) -> Checked:
    return tiny.check(tiny.archive("other"))


# ---- layout


def with_entry(tiny: Tiny, name: str, content: bytes = b"x") -> Checked:
    return tiny.check(tiny.rezip(lambda entries: entries.update({name: content})))


@finds("path-escapes", "'../evil.py'")
def zip_slip(tiny: Tiny) -> Checked:
    return with_entry(tiny, "../evil.py")


@finds("absolute-path", "'/tmp/evil.py'")
def absolute_path(tiny: Tiny) -> Checked:
    return with_entry(tiny, "/tmp/evil.py")  # noqa: S108 - never written


@finds("link")
def link(tiny: Tiny) -> Checked:
    path = tiny.archive()
    entry = zipfile.ZipInfo("passwords")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, "/etc/passwd")
    return tiny.check(path)


@finds("duplicate-entry", "'handler.py'")
def duplicate_entry(tiny: Tiny) -> Checked:
    path = tiny.archive()
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("handler.py", "second")
    return tiny.check(path)


@finds("zip-bomb")
def zip_bomb(tiny: Tiny) -> Checked:
    return with_entry(tiny, "zeros.bin", bytes(201 << 20))


@finds("secret", "'.env'")
def environment_file(tiny: Tiny) -> Checked:
    return with_entry(tiny, ".env", b"PASSWORD=1")


@finds("secret", "'notes.txt'")
def private_key(tiny: Tiny) -> Checked:
    return with_entry(tiny, "notes.txt", b"-----BEGIN EC PRIVATE " + b"KEY-----\nabc")


@finds("secret", "'.git/'")
def repository_once_however_large(tiny: Tiny) -> Checked:
    many = {f".git/objects/{number:02x}/a": b"x" for number in range(9)}
    return tiny.check(tiny.rezip(lambda entries: entries.update({".git/config": b"x", **many})))


@finds("stray-file", "'a/.idea/' (3 files)", "warning")
def folder_of_an_editor_once(tiny: Tiny) -> Checked:
    files = {f"a/.idea/{number}.xml": b"" for number in range(3)}
    return tiny.check(tiny.rezip(lambda entries: entries.update(files)))


@finds("entry-name", "'./model.py'")
def duplicate_by_another_spelling(tiny: Tiny) -> Checked:
    return with_entry(tiny, "./model.py")


@finds("duplicate-entry", "'Model.py'")
def duplicate_by_case(tiny: Tiny) -> Checked:
    return with_entry(tiny, "Model.py")


@finds("manifest-missing", "'pets'")
def folder_around_the_archive(tiny: Tiny) -> Checked:
    def edit(entries: dict[str, bytes]) -> None:
        moved = {f"pets/{name}": content for name, content in entries.items()}
        entries.clear()
        entries.update(moved)

    return tiny.check(tiny.rezip(edit))


@finds("manifest-unreadable", "'handler'")
def manifest_without_a_handler(tiny: Tiny) -> Checked:
    return with_manifest(tiny, lambda values: values["model"].pop("handler"))


@finds("stray-file", "__pycache__", "warning")
def bytecode(tiny: Tiny) -> Checked:
    return with_entry(tiny, "__pycache__/handler.cpython-311.pyc")


@finds("damaged")
def flipped_bytes(tiny: Tiny) -> Checked:
    path = tiny.archive()
    content = path.read_bytes()
    path.write_bytes(content.replace(b"import json", b"import jsom"))
    return tiny.check(path)


@finds("damaged")
def cut_off_archive(tiny: Tiny) -> Checked:
    path = tiny.archive()
    path.write_bytes(path.read_bytes()[:-200])
    return tiny.check(path)


@finds("stale", "handler.py: ")
def stale_handler(tiny: Tiny) -> Checked:
    tiny.archive()
    tiny.handler(("four numbers in", "4 numbers in"))
    return tiny.check()


@finds("stale", "model-config.yaml")
def stale_settings(tiny: Tiny) -> Checked:
    tiny.archive()
    tiny.spec(("batchSize = 4", "batchSize = 3"))
    return tiny.check()


@finds("collision", "'model.py'")
def basename_collision(tiny: Tiny) -> Checked:
    tiny.write("other/model.py", "")
    tiny.spec(
        ('model_file = "model.py"', 'model_file = "model.py"\nextra_files = ["other/model.py"]')
    )
    return tiny.check()


@finds("file", "'wights.pth'")
def file_is_missing(tiny: Tiny) -> Checked:
    tiny.spec(('"weights.pth"', '"wights.pth"'))
    return tiny.check()


# ---- code


@finds("missing-import", "pip install opencv-python-headless")
def distribution_is_missing(tiny: Tiny) -> Checked:
    tiny.handler(("import json", "import cv2\nimport json"))
    return tiny.check()


@finds("missing-import", 'extra_files = ["handlers/helper.py"]')
def own_file_is_missing(tiny: Tiny) -> Checked:
    tiny.write("handlers/helper.py", "")
    tiny.handler(("import json", "import helper\nimport json"))
    return tiny.check()


@finds("relative-import", "write `from helper import x`")
def relative_import_in_an_archive_alone(tiny: Tiny) -> Checked:
    def edit(entries: dict[str, bytes]) -> None:
        entries["handler.py"] = b"from .helper import x\n" + entries["handler.py"]
        entries["helper.py"] = b"x = 1\n"

    return tiny.check(tiny.rezip(edit))


@finds("not-installed", "requirements.txt", "warning")
def declared_is_not_installed(tiny: Tiny) -> Checked:
    tiny.write("requirements.txt", "opencv-python-headless>=4\n")
    tiny.spec(('version = "1.0"', 'version = "1.0"\nrequirements_file = "requirements.txt"'))
    tiny.handler(("import json", "import cv2\nimport json"))
    return tiny.check()


@finds("classes", "handler.py:7: ")
def two_classes_in_the_handler(tiny: Tiny) -> Checked:
    tiny.handler(
        ("import json\n", "import json\nclass A: pass\n"),
        ("class A: pass\n\nimport torch", "import torch\nclass A: pass"),
    )
    return tiny.check()


@finds("classes", "none")
def no_class_in_the_handler(tiny: Tiny) -> Checked:
    tiny.write("handler.py", "from model import Model\n")
    return tiny.check()


@finds("classes", "model.py")
def two_classes_in_an_archive_alone(tiny: Tiny) -> Checked:
    text = tiny.root.joinpath("model.py").read_text() + "\n\nclass Other(Model):\n    pass\n"

    def edit(entries: dict[str, bytes]) -> None:
        entries["model.py"] = text.encode()
        manifest(lambda values: values["model"].update(handler="base_handler"))(entries)

    return tiny.check(tiny.rezip(edit))


@finds("constructor", "model.py:5: ")
def model_needs_arguments(tiny: Tiny) -> Checked:
    tiny.model(("__init__(self)", "__init__(self, classes)"))
    return tiny.check()


@finds("constructor", "Handler")
def handler_needs_arguments(tiny: Tiny) -> Checked:
    tiny.handler(
        (
            "    def initialize",
            "    def __init__(self, size, *, mode=1):\n        pass\n\n    def initialize",
        )
    )
    return tiny.check()


@finds("handler-methods", "initialize")
def handler_has_no_initialize(tiny: Tiny) -> Checked:
    tiny.handler(("def initialize", "def setup"))
    return tiny.check()


@finds("handler-function", "'serve'")
def entry_point_is_missing(tiny: Tiny) -> Checked:
    tiny.handler(("class Handler:", "class Base:\n    pass\n\n\nclass Handler:"))
    tiny.spec(('"handler.py"', '"handler.py:serve"'))
    return tiny.check()


@finds("syntax", "handler.py:10")
def handler_is_no_python(tiny: Tiny) -> Checked:
    tiny.handler(("def initialize(self, context):", "def initialize(self, context)"))
    return tiny.check()


@finds("syntax", "helper.py:1: ")
def imported_file_is_no_python(tiny: Tiny) -> Checked:
    tiny.write("helper.py", "print 'old'\n")
    tiny.model(("from torch import nn", "import helper\nfrom torch import nn"))
    return tiny.check()


@finds("download", "model.py:7: models.resnet18(weights='DEFAULT') ")
def pretrained_backbone(tiny: Tiny) -> Checked:
    tiny.model(
        ("from torch import nn\n", "from torch import nn\nfrom torchvision import models\n"),
        (
            "super().__init__()\n",
            "super().__init__()\n        models.resnet18(weights='DEFAULT')\n",
        ),
    )
    tiny.model(("\n\nclass Model", "\nclass Model"))
    return tiny.check()


@finds("download", "torch.hub.load")
def model_of_a_hub(tiny: Tiny) -> Checked:
    tiny.handler(("self.model = Model()", "self.model = torch.hub.load('a/b', 'c')"))
    return tiny.check()


@finds("download", "http://weights.example/a.pth")
def download_in_disguise(tiny: Tiny) -> Checked:
    fetch = "from urllib import request as r\n        r.urlopen('http://weights.example/a.pth')"
    tiny.handler(("folder = context", f"{fetch}\n        folder = context"))
    return tiny.check()


@finds("download", "(http://weights.example")
def download_that_a_filled_cache_hides(tiny: Tiny) -> Checked:
    cached = tiny.root / "cache" / "hub" / "checkpoints"
    cached.mkdir(parents=True)
    torch.save({}, cached / "a.pth")
    call = "torch.hub.load_state_dict_from_url('http://weights.example/a.pth')"
    tiny.handler(("folder = context", f"{call}\n        folder = context"))
    with mock.patch.dict(os.environ, TORCH_HOME=str(tiny.root / "cache")):
        return tiny.check()


@finds("download", "http://weights.example/a.pth", "warning")
def download_that_is_swallowed(tiny: Tiny) -> Checked:
    lines = ["from urllib import request as r", "try:"]
    lines += ["    r.urlopen('http://weights.example/a.pth')", "except OSError:", "    pass"]
    text = "\n        ".join(lines)
    tiny.handler(("folder = context", f"{text}\n        folder = context"))
    return tiny.check()


@finds("site-file", "sitecustomize.py")
def python_runs_a_file_by_itself(tiny: Tiny) -> Checked:
    return tiny.check(tiny.rezip(lambda entries: entries.update({"sitecustomize.py": b""})))


@finds("site-file", "more.pth")
def path_file_runs_code(tiny: Tiny) -> Checked:
    text = b"/some/folder\nimport os\n"
    return tiny.check(tiny.rezip(lambda entries: entries.update({"more.pth": text})))


@finds("shadows-library", "json/__init__.py")
def standard_package_is_hidden(tiny: Tiny) -> Checked:
    return tiny.check(tiny.rezip(lambda entries: entries.update({"json/__init__.py": b""})))


@finds("requirement-source", "http://mirror.test/simple", "warning")
def requirements_from_another_index(tiny: Tiny) -> Checked:
    tiny.write("requirements.txt", "--index-url http://mirror.test/simple\nnumpy\n")
    tiny.spec(('version = "1.0"', 'version = "1.0"\nrequirements_file = "requirements.txt"'))
    return tiny.check()


@finds("shadows-library", "'random'")
def standard_module_is_hidden(tiny: Tiny) -> Checked:
    tiny.write("random.py", "")
    tiny.spec(('version = "1.0"', 'version = "1.0"\nextra_files = ["random.py"]'))
    return tiny.check()


@finds("shadows-library", "pillow", "warning")
def library_is_hidden(tiny: Tiny) -> Checked:
    tiny.write("PIL.py", "")
    tiny.spec(('version = "1.0"', 'version = "1.0"\nextra_files = ["PIL.py"]'))
    return tiny.check()


@finds("shadows-file", "helper.py")
def file_is_hidden_by_a_folder(tiny: Tiny) -> Checked:
    tiny.write("helper.py", "")
    tiny.write("own/helper/__init__.py", "")
    tiny.spec(('version = "1.0"', 'version = "1.0"\nextra_files = ["helper.py", "own"]'))
    return tiny.check()


# ---- weights


@finds("weights-keys", "first.weight")
def weights_of_another_model(tiny: Tiny) -> Checked:
    tiny.save(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)).state_dict())
    return tiny.check()


@finds("weights-keys", "'module'")
def weights_of_a_wrapper(tiny: Tiny) -> Checked:
    tiny.save({f"module.{name}": value for name, value in tiny.state.items()})
    return tiny.check()


@finds("weights-keys", "7")
def other_number_of_classes(tiny: Tiny) -> Checked:
    tiny.save(tiny.state | {"last.weight": torch.ones(7, 5), "last.bias": torch.ones(7)})
    return tiny.check()


@finds("weights-keys", "transposed")
def transposed_weights(tiny: Tiny) -> Checked:
    tiny.save(
        {
            name: value.T.contiguous() if value.dim() == 2 else value
            for name, value in tiny.state.items()
        }
    )
    return tiny.check()


@finds("weights-not-finite", "last.bias (2)")
def weights_hold_nan(tiny: Tiny) -> Checked:
    tiny.save(tiny.state | {"last.bias": torch.tensor([float("nan"), 1, float("inf")])})
    return tiny.check()


class Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


@finds("weights-execute", "posix.system")
def weights_execute_code(tiny: Tiny) -> Checked:
    tiny.save({"a": Attack()}, "bad.pth")
    bad = (tiny.root / "bad.pth").read_bytes()
    return tiny.check(tiny.rezip(lambda entries: entries.update({"weights.pth": bad})))


class Process:
    def __reduce__(self) -> tuple[Any, ...]:
        return subprocess.Popen, (["true"],)


def with_pickle(tiny: Tiny, name: str, content: bytes) -> Checked:
    """The handler loads it, so its code would run if the archive were run."""
    load = "import pickle\n        pickle.load(open(f'{folder}/" + name + "', 'rb'))"
    line = 'folder = context.system_properties["model_dir"]'
    tiny.handler((line, f"{line}\n        {load}"))
    return tiny.check(tiny.rezip(lambda entries: entries.update({name: content})))


@finds("weights-execute", "subprocess.Popen")
def weights_start_a_program(tiny: Tiny) -> Checked:
    """Protocol 2 writes another name, which Python 3 translates."""
    tiny.save({"a": Process()}, "bad.pth")
    bad = (tiny.root / "bad.pth").read_bytes()
    return tiny.check(tiny.rezip(lambda entries: entries.update({"weights.pth": bad})))


@finds("weights-execute", "vocab.pkl: ")
def another_pickle_executes_code(tiny: Tiny) -> Checked:
    return with_pickle(tiny, "vocab.pkl", pickle.dumps({"a": Attack()}))


@finds("weights-execute", "posix.system")
def pickle_under_another_name_executes_code(tiny: Tiny) -> Checked:
    return with_pickle(tiny, "vocab.dat", pickle.dumps([1, Attack()], protocol=4))


@finds("weights-execute", "glob.glob (a.npy at byte")
def numpy_file_executes_code(tiny: Tiny) -> Checked:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([glob.glob, None], dtype=object))
    return tiny.check(tiny.rezip(lambda entries: entries.update({"words.txt": buffer.getvalue()})))


@finds("custom-operator", "mine::blur", "warning")
def program_needs_a_library(tiny: Tiny) -> Checked:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("net/code/__torch__.py", "def forward(x):\n  return ops.mine.blur(x)\n")
    return tiny.check(tiny.rezip(lambda entries: entries.update({"net.pt": buffer.getvalue()})))


@finds("weights-outside", "../../secret")
def values_lie_outside(tiny: Tiny) -> Checked:
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[1])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")
    places = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in ("x", "y")]
    node = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "g", places[:1], places[1:], [tensor])
    tiny.write("net.onnx", onnx.helper.make_model(graph).SerializeToString())
    tiny.spec(('model_file = "model.py"\n', ""), ('"weights.pth"', '"net.onnx"'))
    tiny.spec(('version = "1.0"', 'version = "1.0"\nextra_files = ["model.py"]'))
    return tiny.check()


@finds("weights-execute", "posix.system")
def weights_that_the_manifest_does_not_name(tiny: Tiny) -> Checked:
    tiny.save({"a": Attack()}, "bad.pth")
    return with_pickle(tiny, "more.pth", (tiny.root / "bad.pth").read_bytes())


@finds("weights")
def whole_module(tiny: Tiny) -> Checked:
    tiny.save(torch.nn.Linear(2, 2))
    return tiny.check()


@finds("weights-execute", "torch.nn.modules.linear.Linear")
def whole_module_in_an_archive_alone(tiny: Tiny) -> Checked:
    torch.save(torch.nn.Linear(2, 2), tiny.root / "module.pth")
    module = (tiny.root / "module.pth").read_bytes()
    return tiny.check(tiny.rezip(lambda entries: entries.update({"weights.pth": module})))


def torchscript(tiny: Tiny, name: str) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced: Any = torch.jit.trace(new_model(), torch.ones(1, 4))  # type: ignore[no-untyped-call]
    traced.save(str(tiny.root / name))
    return (tiny.root / name).read_bytes()


@finds("weights-kind", "TorchScript")
def torchscript_with_a_model_file(tiny: Tiny) -> Checked:
    content = torchscript(tiny, "script.pt")
    return tiny.check(tiny.rezip(lambda entries: entries.update({"weights.pth": content})))


@finds("weights")
def weights_are_cut_off(tiny: Tiny) -> Checked:
    tiny.write("weights.pth", (tiny.root / "weights.pth").read_bytes()[:-400])
    return tiny.check()


@finds("weights-damaged")
def weights_are_empty(tiny: Tiny) -> Checked:
    return tiny.check(tiny.rezip(lambda entries: entries.update({"weights.pth": b""})))


@finds("weights-kind", "'net.onnx'")
def onnx_that_is_none(tiny: Tiny) -> Checked:
    tiny.save(tiny.state, "net.onnx")
    tiny.spec(('model_file = "model.py"\n', ""), ('"weights.pth"', '"net.onnx"'))
    tiny.spec(('version = "1.0"', 'version = "1.0"\nextra_files = ["model.py"]'))
    tiny.handler(("weights.pth", "net.onnx"))
    return tiny.check()


@finds("weights-keys", "strict=False", "warning")
def weights_that_are_not_loaded(tiny: Tiny) -> Checked:
    tiny.handler(("load_state_dict(weights)", "load_state_dict(weights, strict=False)"))
    tiny.save({f"module.{name}": value for name, value in tiny.state.items()})
    fill = "for one in self.parameters():\n            nn.init.constant_(one, 0.5)"
    tiny.model(("nn.Linear(5, 3)\n", f"nn.Linear(5, 3)\n        {fill}\n"))
    tiny.write("answer.json", "[14.25, 14.25, 14.25]")
    return tiny.check()


@finds("weights-keys", "own.bias")
def weights_that_the_model_loads_in_its_own_way(tiny: Tiny) -> Checked:
    """Names are compared as its load_state_dict has them, not as they are stored."""
    tiny.save({**{"old." + n: v for n, v in tiny.state.items()}, "old.own.bias": torch.ones(1)})
    tiny.model(
        (
            "    def forward",
            "    def load_state_dict(self, state, strict=True):\n"
            "        state = {name.removeprefix('old.'): one for name, one in state.items()}\n"
            "        return super().load_state_dict(state, strict)\n\n    def forward",
        )
    )
    return tiny.check()


@finds("weights-keys", "last.bias")
def one_name_is_missing(tiny: Tiny) -> Checked:
    tiny.save({name: value for name, value in tiny.state.items() if name != "last.bias"})
    return tiny.check()


@finds("weights-damaged", "git-lfs")
def pointer_in_place_of_weights(tiny: Tiny) -> Checked:
    text = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    return tiny.check(tiny.rezip(lambda entries: entries.update({"weights.pth": text})))


@finds("weights-training-state", "optimizer", "warning")
def optimizer_is_shipped(tiny: Tiny) -> Checked:
    tiny.save({"state_dict": tiny.state, "optimizer": {"state": {}}, "epoch": 3})
    tiny.handler(("load_state_dict(weights)", "load_state_dict(weights['state_dict'])"))
    return tiny.check()


@finds("weights-training-state", "marsmith weights extract")
def checkpoint_in_place_of_the_state_dict(tiny: Tiny) -> Checked:
    tiny.save({"state_dict": tiny.state, "optimizer": {"state": {}}, "epoch": 3})
    return tiny.check()


@finds("weights-kind", "model_file")
def state_dict_without_a_model(tiny: Tiny) -> Checked:
    tiny.spec(('"handler.py"', '"base_handler"'), ('model_file = "model.py"\n', ""))
    return tiny.check()


# ---- behaviour


@finds("load", "ValueError: no luck")
def initialize_raises(tiny: Tiny) -> Checked:
    tiny.handler(("folder = context", "raise ValueError('no luck')\n        folder = context"))
    return tiny.check()


@finds("no-sample", "marsmith sample tiny", "warning")
def no_sample(tiny: Tiny) -> Checked:
    tiny.spec(
        ('[[archives.tiny.samples]]\nrequest = "sample.json"\nresponse = "answer.json"\n', "")
    )
    return tiny.check()


def without_samples(tiny: Tiny, *changes: tuple[str, str], timeout: float = 60) -> Checked:
    """Check it alone: of a picture, it has to say that it is none."""
    tiny.handler(*changes)
    tiny.spec(
        ('[[archives.tiny.samples]]\nrequest = "sample.json"\nresponse = "answer.json"\n', "")
    )
    return tiny.check(tiny.archive(), timeout)


@finds("answer-type")
def answer_is_no_list_and_there_is_no_sample(tiny: Tiny) -> Checked:
    return without_samples(tiny, ("return answers", "return 'answers'"))


@finds("no-answer", "handler.py:17: ")
def import_that_fails_late(tiny: Tiny) -> Checked:
    return without_samples(tiny, ("answers = [None]", "import nowhere\n        answers = [None]"))


@finds("no-answer", "SIGSEGV")
def worker_dies_of_any_request(tiny: Tiny) -> Checked:
    crash = "import ctypes\n        ctypes.string_at(0)\n        answers = [None]"
    return without_samples(tiny, ("answers = [None]", crash))


@finds("no-answer", "7 s")
def any_request_hangs(tiny: Tiny) -> Checked:
    wait = "import time\n        time.sleep(99)\n        answers = [None]"
    return without_samples(tiny, ("answers = [None]", wait), timeout=7)


@finds("load", "7 s")
def load_hangs(tiny: Tiny) -> Checked:
    wait = "import time\n        time.sleep(99)\n        folder = context"
    return without_samples(tiny, ("folder = context", wait), timeout=7)


@finds("load", "MARSMITH_PASS_ENVIRONMENT=NO_SUCH")
def load_fails_and_its_log_is_gone(tiny: Tiny) -> Checked:
    line = "import os; os.environ['NO_SUCH']\n        folder = context"
    return without_samples(tiny, ("folder = context", line))


@finds("load", "'labels.txt'")
def file_is_not_shipped(tiny: Tiny) -> Checked:
    line = 'folder = context.system_properties["model_dir"]'
    return without_samples(tiny, (line, line + "\n        open(f'{folder}/labels.txt')"))


@finds("sample", "[0]: ")
def answer_is_wrong(tiny: Tiny) -> Checked:
    tiny.write("answer.json", "[9, 9, 9]")
    return tiny.check()


@finds("sample", "pixels differ")
def mask_of_another_class(tiny: Tiny) -> Checked:
    """As near as two shades can be, and within the tolerance of a picture."""
    tiny.write(
        "handler.py",
        "from marsmith_handlers.image_segmenter import ImageSegmenter\n\n\n"
        "class Masks(ImageSegmenter):\n    content_types = ('image/png',)\n",
    )
    tiny.model(
        ("        self.first = nn.Linear(4, 5)\n        self.last = nn.Linear(5, 3)\n", ""),
        ("super().__init__()", "super().__init__()\n        self.all = nn.Linear(3, 21)"),
        (
            "return self.last(self.first(values).relu())",
            "return {'out': self.all(values.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)}",
        ),
    )
    picture = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(picture, "PNG")
    tiny.write("cat.png", picture.getvalue())
    tiny.spec(
        (
            'request = "sample.json"\nresponse = "answer.json"',
            'request = "cat.png"\nresponse = "mask.png"\ntolerance = 0.01',
        ),
    )
    tiny.write("mask.png", b"to be recorded")
    bias = torch.zeros(21)
    bias[15] = 1
    tiny.save({"all.weight": torch.zeros(21, 3), "all.bias": bias})
    with Runtime(Archive(tiny.archive()), timeout=60) as run:
        tiny.write("mask.png", run.predict(picture.getvalue()).body)
    bias[16] = 2
    tiny.save({"all.weight": torch.zeros(21, 3), "all.bias": bias})
    return tiny.check(tiny.archive())


@finds("sample", "status 400")
def sample_is_refused(tiny: Tiny) -> Checked:
    tiny.write("sample.json", "four")
    return tiny.check()


@finds("batch-size", "archives.toml:10: ")
def model_takes_no_batch(tiny: Tiny) -> Checked:
    tiny.model(("return self.last", "values = values.reshape(1, 4)\n        return self.last"))
    return tiny.check()


@finds("batch-answer")
def answer_depends_on_neighbours(tiny: Tiny) -> Checked:
    tiny.model((".relu())", ".relu()) + len(values)"))
    answer = json.loads((tiny.root / "answer.json").read_text())
    tiny.write("answer.json", json.dumps([value + 1 for value in answer]))
    return tiny.check()


@finds("batch-answer", "handler.py:16: ")
def answers_change_places(tiny: Tiny) -> Checked:
    tiny.handler(("return answers", "return answers[::-1]"))
    return tiny.check()


@finds("batch-answer", "beside a bad")
def answers_move_up_beside_a_bad_request(tiny: Tiny) -> Checked:
    shift = "answers.sort(key=lambda one: isinstance(one, str))\n        return answers"
    tiny.handler(("return answers", shift))
    return tiny.check()


@finds("bad-request", severity="warning")
def bad_request_spoils_its_batch(tiny: Tiny) -> Checked:
    tiny.handler(("except Exception:", "except KeyError:"))
    return tiny.check()


@finds("bad-request")
def bad_request_ends_the_worker(tiny: Tiny) -> Checked:
    tiny.handler(
        ("context.set_response_status(400", "raise SystemExit; context.set_response_status(400")
    )
    return tiny.check()


@finds("answer-count")
def too_few_answers(tiny: Tiny) -> Checked:
    tiny.handler(("return answers", "return answers[:-1]"))
    return tiny.check()


@finds("answer-type")
def answer_is_no_list(tiny: Tiny) -> Checked:
    tiny.handler(("return answers", "return {'answers': answers}"))
    return tiny.check()


@finds("answer-type")
def answer_does_not_serialise(tiny: Tiny) -> Checked:
    tiny.handler(("output.tolist()", "set(output.tolist())"))
    return tiny.check()


@finds("training-mode", "model.eval()")
def dropout_is_on(tiny: Tiny) -> Checked:
    tiny.handler(("Model().eval()", "Model()"))
    tiny.model((".relu())", ".relu()) + 0 * self.drop(values).sum()"))
    tiny.model(("        self.last", "        self.drop = nn.Dropout()\n        self.last"))
    return tiny.check()


@finds("training-mode")
def answers_are_random(tiny: Tiny) -> Checked:
    tiny.handler(("output.tolist()", "(output + 1e-4 * torch.rand(3)).tolist()"))
    return tiny.check()


@finds("gradients", "inference_mode", "warning")
def gradients_are_on(tiny: Tiny) -> Checked:
    tiny.handler(("torch.inference_mode()", "torch.enable_grad()"))
    return tiny.check()


@finds("memory", "kB", "warning")
def memory_grows(tiny: Tiny) -> Checked:
    keep = "self.__dict__.setdefault('kept', []).append(b'x' * 300_000)"
    tiny.handler(("answers = [None]", f"{keep}\n        answers = [None]"))
    return tiny.check()


# ---- serving


def with_config(tiny: Tiny, text: str) -> Checked:
    return tiny.check(
        tiny.rezip(lambda entries: entries.update({"model-config.yaml": text.encode()}))
    )


@finds("serving-key", "'batchSize'", "warning")
def misspelt_key(tiny: Tiny) -> Checked:
    return with_config(tiny, "minWorkers: 1\nbatchsize: 4\n")


@finds("serving-value", "'batchSize'")
def value_of_another_type(tiny: Tiny) -> Checked:
    return with_config(tiny, "batchSize: many\n")


@finds("serving-value", "'maxWorkers'")
def absurdly_many_workers(tiny: Tiny) -> Checked:
    return with_config(tiny, "minWorkers: 1\nmaxWorkers: 100000\n")


@finds("serving-value", "'batchSize'")
def absurdly_large_batches(tiny: Tiny) -> Checked:
    return with_config(tiny, "batchSize: 2000000000\n")


@finds("serving-unreadable")
def config_is_no_yaml(tiny: Tiny) -> Checked:
    return with_config(tiny, "a: [\n")


@finds("serving-delay", "2 s")
def delay_beyond_the_timeout(tiny: Tiny) -> Checked:
    return with_config(tiny, "maxBatchDelay: 2000\nresponseTimeout: 2\n")


@finds("serving-workers", "archives.toml:8: ")
def more_at_least_than_at_most(tiny: Tiny) -> Checked:
    tiny.spec(("minWorkers = 1", "minWorkers = 2"))
    return tiny.check()


@finds("serving-threads", severity="warning")
def more_threads_than_cores(tiny: Tiny) -> Checked:
    tiny.spec(("batchSize = 4\n", "batchSize = 4\n[archives.tiny.handler_config]\nthreads = 999\n"))
    return tiny.check()


@finds("serving-threads", "archives.toml:9: ", "warning")
def more_workers_than_cores(tiny: Tiny) -> Checked:
    tiny.spec(("maxWorkers = 1", "maxWorkers = 999"))
    return tiny.check()


@finds("serving-threads", "torch.set_num_threads(1)", "warning")
def threads_are_set_in_code(tiny: Tiny) -> Checked:
    tiny.handler(("folder = context", "torch.set_num_threads(3)\n        folder = context"))
    return tiny.check()


# ---- config.properties


@finds("config-key", "config.properties:2", "warning")
def misspelt_property(tiny: Tiny) -> Checked:
    return tiny.check_config("# ours\ninference_adress=http://127.0.0.1:8080\n")


@finds("config-ignored", "batchSize in [archives.NAME.serving]", "warning")
def property_without_effect(tiny: Tiny) -> Checked:
    return tiny.check_config("batch_size=8\n")


@finds("config-value")
def address_is_none(tiny: Tiny) -> Checked:
    return tiny.check_config("inference_address=8080\n")


@finds("config-exposed", "management")
def management_is_open(tiny: Tiny) -> Checked:
    return tiny.check_config(
        "management_address=http://0.0.0.0:8081\ndisable_token_authorization=true\n"
        "workflow_store=/dev/null\n"
    )


@finds("config-exposed", "metrics")
def metrics_are_open(tiny: Tiny) -> Checked:
    return tiny.check_config("metrics_address=http://0.0.0.0:8082\n")


@finds("config-model-api", severity="warning")
def any_url_is_allowed(tiny: Tiny) -> Checked:
    return tiny.check_config(
        "enable_model_api=true\ndisable_token_authorization=true\nworkflow_store=/dev/null\n"
    )


@finds("config-workflows", "enable_model_api", "warning")
def workflows_are_open(tiny: Tiny) -> Checked:
    return tiny.check_config("disable_token_authorization=true\n")


@finds("config-cors", severity="warning")
def any_origin_is_allowed(tiny: Tiny) -> Checked:
    return tiny.check_config("cors_allowed_origin=*\n")
