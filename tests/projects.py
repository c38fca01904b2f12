"""The projects of the tests: `tiny` to build, `linear` to check and spoil, `echo` to serve at once,
and a copy of this repository's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from marsmith.building.building import build
from marsmith.check.checking import Checked, check, check_project
from marsmith.check.targets import targets
from marsmith.project.project import Project
from tests.integration.kit import ROOT, Kit

HANDLER = """\
class TinyHandler:
    def initialize(self, context):
        self.context = context

    def handle(self, data, context):
        return [len(row) for row in data]
"""

MODEL = """\
from torch import nn


class Net(nn.Linear):
    def __init__(self):
        super().__init__(2, 2)
"""

# Line numbers below are counted on in tests.
SPEC = """\
[archives.tiny]
version = "1.0"
handler = "handlers/tiny_handler.py"
extra_files = [
    "handlers/helper.py",
    "extra",
]

[archives.tiny.serving]
minWorkers = 1
batchSize = 4

[archives.tiny.handler_config]
size = [28, 28]

[[archives.tiny.samples]]
request = "proof/one.bin"
response = "proof/one.json"
"""

FILES: dict[str, str | bytes] = {
    "handlers/tiny_handler.py": HANDLER,
    "handlers/helper.py": "HELP = True\n",
    "extra/labels.json": '{"0": "zero"}\n',
    "extra/inner/deep.txt": "grüße\n",
    "extra/empty.txt": "",
    "proof/one.bin": b"\x00\x01\x02",
    "proof/one.json": "[1]\n",
}


def minimal_spec(more: str = "", handler: str = "handler.py") -> str:
    """Return a spec of one archive `tiny`; `more` starts on line 4."""
    return f'[archives.tiny]\nversion = "1.0"\nhandler = "{handler}"\n{more}'


def write_files(root: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files below a folder, text as UTF-8."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def make_project(
    root: Path, files: Mapping[str, str | bytes] | None = None, spec: str = SPEC
) -> Project:
    """Write a project of `files` (default: the tiny one's) into `root`."""
    write_files(root, {**(FILES if files is None else files), "archives.toml": spec})
    return Project(root)


def run_marsmith(
    *arguments: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    umask: int = -1,
) -> subprocess.CompletedProcess[str]:
    """Run the command as a user's shell would, and wait for it."""
    return subprocess.run(
        [sys.executable, "-m", "marsmith", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | dict(env or {}),
        umask=umask,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


LINEAR_HANDLER = '''\
import json

import torch
from model import Model


class Handler:
    """Lists of four numbers in, three numbers out."""

    def initialize(self, context):
        folder = context.system_properties["model_dir"]
        self.model = Model().eval()
        weights = torch.load(f"{folder}/weights.pth", map_location="cpu", weights_only=True)
        self.model.load_state_dict(weights)

    def handle(self, data, context):
        answers = [None] * len(data)
        good = {}
        for index, request in enumerate(data):
            try:
                body = request["body"]
                values = body if isinstance(body, list) else json.loads(bytes(body))
                good[index] = [float(value) for value in values]
            except Exception:
                context.set_response_status(400, "Bad Request", index)
                answers[index] = "send a list of four numbers"
        if good:
            with torch.inference_mode():
                outputs = self.model(torch.tensor(list(good.values())))
            for index, output in zip(good, outputs):
                answers[index] = output.tolist()
        return answers
'''
LINEAR_MODEL = """\
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 5)
        self.last = nn.Linear(5, 3)

    def forward(self, values):
        return self.last(self.first(values).relu())
"""
LINEAR_SPEC = """\
[archives.tiny]
version = "1.0"
handler = "handler.py"
model_file = "model.py"
serialized_file = "weights.pth"

[archives.tiny.serving]
minWorkers = 1
maxWorkers = 1
batchSize = 4

[[archives.tiny.samples]]
request = "sample.json"
response = "answer.json"
"""


class Tiny:
    """The project in a folder; every method changes one thing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("handler.py", LINEAR_HANDLER)
        self.write("model.py", LINEAR_MODEL)
        self.write("archives.toml", LINEAR_SPEC)
        self.write("sample.json", "[1, 2, 3, 4]")
        import torch  # here, since it takes seconds and most tests do without

        torch.manual_seed(0)
        self.state = new_model().state_dict()
        self.save(self.state)
        self.record()

    def record(self) -> None:
        """Make the answer what the first model says."""
        import torch

        model = new_model()
        model.load_state_dict(self.state)
        with torch.inference_mode():
            answer = model(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))[0].tolist()
        self.write("answer.json", json.dumps(answer))

    def save(self, value: Any, name: str = "weights.pth") -> None:
        """Save weights, or a stand-in for them."""
        import torch

        torch.save(value, self.root / name)

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def change(self, name: str, *changes: tuple[str, str]) -> None:
        """Replace text in a file; the old text must be there."""
        text = (self.root / name).read_text()
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        self.write(name, text)

    def handler(self, *changes: tuple[str, str]) -> None:
        """Replace text in the handler."""
        self.change("handler.py", *changes)

    def model(self, *changes: tuple[str, str]) -> None:
        """Replace text in the model file."""
        self.change("model.py", *changes)

    def spec(self, *changes: tuple[str, str]) -> None:
        """Replace text in the spec."""
        self.change("archives.toml", *changes)

    @property
    def project(self) -> Project:
        """The project as it is on disk now."""
        return Project(self.root)

    def archive(self, name: str = "tiny") -> Path:
        """Build it, and return a copy of the archive that has no project around it."""
        (built,) = build(self.project, ("tiny",))
        copy = self.root / "elsewhere" / f"{name}.mar"
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(built.path.read_bytes())
        return copy

    def rezip(self, edit: Callable[[dict[str, bytes]], None]) -> Path:
        """Return the archive with other entries."""
        path = self.archive()
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        edit(entries)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
        return path

    def check(self, path: Path | None = None, timeout: float = 60) -> Checked:
        """Check the project's archive, or one that stands alone."""
        (target,) = targets((str(path or "tiny"),), lambda: self.project)
        return check(target, timeout=timeout)

    def check_config(self, text: str) -> Checked:
        """Check the project with that config.properties."""
        self.write("config.properties", text)
        return check_project(self.project)


def new_model() -> Any:
    """Return the model of LINEAR_MODEL."""
    scope: dict[str, Any] = {"__name__": "model"}
    exec(compile(LINEAR_MODEL, "model.py", "exec"), scope)  # noqa: S102 - our own text
    return scope["Model"]()


ECHO_HANDLER = """\
class Handler:
    def initialize(self, context):
        pass

    def handle(self, data, context):
        return ["right"] * len(data)
"""
ECHO_SPEC = """\
[archives.echo]
version = "1.0"
handler = "handlers/echo.py"

[archives.echo.serving]
minWorkers = 1
maxWorkers = 1
maxBatchDelay = 1
"""


def copy_project(target: Path, *, only_digits: bool = True) -> Kit:
    """Copy what a project consists of, as a clone would have it; one archive starts soonest."""
    for name in ("handlers", "model_defs", "weights", "samples"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("archives.toml", "config.properties"):
        shutil.copy(ROOT / name, target / name)
    if only_digits:
        spec = (target / "archives.toml").read_text()
        (target / "archives.toml").write_text(spec.partition("[archives.cartoon]")[0])
    return Kit(target)


def copy_echo(target: Path, config: str = "") -> Kit:
    """Make a project with one archive that is loaded at once, built; `config` is added to ours."""
    kit = Kit(target)
    kit.write("handlers/echo.py", ECHO_HANDLER)
    kit.write("archives.toml", ECHO_SPEC)
    kit.write("config.properties", (ROOT / "config.properties").read_text() + config)
    kit("build")
    return kit
