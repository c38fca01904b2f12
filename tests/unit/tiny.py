"""A tiny project to build, and how to run the command on it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from marsmith.project.project import Project

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
