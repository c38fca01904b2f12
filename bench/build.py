"""How long an archive of large weights takes, beside torch-model-archiver on the same files."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.places import TOOLS
from bench.results import Goal, Result, Series, Table, compare
from bench.rounds import Effort

_MEGABYTES = 300
_GOAL = Goal(f"archive of {_MEGABYTES} MB of random weights, speed", "torch-model-archiver", 8)
_SPEC = """\
[archives.large]
version = "1.0"
handler = "handler.py"
model_file = "model.py"
serialized_file = "weights.pth"
"""
_HANDLER = "def handle(data, context):\n    return data\n"
_MODEL = "import torch\n\n\nclass Model(torch.nn.Module):\n    pass\n"


def build(effort: Effort) -> Result:
    """Build an archive of random weights with both, in turn, each as a whole process."""
    with tempfile.TemporaryDirectory(prefix="marsmith-bench-") as name:
        folder = Path(name)
        _make_project(folder)
        tools: dict[str, tuple[list[str | Path], Path]] = {
            "torch-model-archiver": (_archiver_command(folder), folder / "large.mar"),
            "marsmith build": (
                [TOOLS / "marsmith", "--project", folder, "build", "--force"],
                folder / "model_store" / "large.mar",
            ),
        }
        for command, output in tools.values():
            _seconds(command, output)  # warms the page cache
        times: dict[str, list[float]] = {tool: [] for tool in tools}
        for _ in range(effort.rounds):
            for tool, (command, output) in tools.items():
                times[tool].append(_seconds(command, output))
    seconds = [Series(tool, values) for tool, values in times.items()]
    theirs, ours = (Series(one.system, [1 / value for value in one.values]) for one in seconds)
    table = Table(f"{_MEGABYTES} MB of weights to an archive", "s", seconds)
    return Result("build", [table], [compare(_GOAL, ours, [theirs])])


def _archiver_command(folder: Path) -> list[str | Path]:
    command: list[str | Path] = [TOOLS / "torch-model-archiver", "--model-name", "large"]
    command += ["--version", "1.0", "--handler", folder / "handler.py"]
    command += ["--model-file", folder / "model.py", "--serialized-file", folder / "weights.pth"]
    return [*command, "--export-path", folder, "--force"]


def _seconds(command: Sequence[str | Path], output: Path) -> float:
    # A first build: replacing an archive holds old and new in memory at the same time.
    output.unlink(missing_ok=True)
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603
    return time.perf_counter() - start


def _make_project(folder: Path) -> None:
    import torch

    (folder / "archives.toml").write_text(_SPEC)
    (folder / "handler.py").write_text(_HANDLER)
    (folder / "model.py").write_text(_MODEL)
    values = torch.frombuffer(bytearray(os.urandom(_MEGABYTES * 1_000_000)), dtype=torch.uint8)
    torch.save({"weight": values}, folder / "weights.pth")
