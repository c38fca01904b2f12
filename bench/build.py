"""How long an archive of large weights takes, beside torch-model-archiver on the same files."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

_SPEC = """\
[archives.large]
version = "1.0"
handler = "handler.py"
model_file = "model.py"
serialized_file = "weights.pth"
"""
_HANDLER = "def handle(data, context):\n    return data\n"
_MODEL = "import torch\n\n\nclass Model(torch.nn.Module):\n    pass\n"
_GOAL = 8.0


@click.command()
@click.option("--megabytes", default=300, show_default=True, help="Size of the weights.")
@click.option("--rounds", default=5, show_default=True, help="Timed runs of each.")
def build(megabytes: int, rounds: int) -> None:
    """Build an archive of random weights with both, in turn, each as a whole process."""
    with tempfile.TemporaryDirectory(prefix="marsmith-bench-") as name:
        folder = Path(name)
        _make_project(folder, megabytes)
        tools = Path(sys.executable).parent
        ours: list[str | Path] = [tools / "marsmith", "--project", folder, "build", "--force"]
        theirs: list[str | Path] = [
            tools / "torch-model-archiver",
            "--model-name",
            "large",
            "--version",
            "1.0",
        ]
        theirs += ["--handler", folder / "handler.py", "--model-file", folder / "model.py"]
        theirs += ["--serialized-file", folder / "weights.pth", "--export-path", folder, "--force"]
        outputs = (folder / "model_store" / "large.mar", folder / "large.mar")

        def seconds(command: Sequence[str | Path]) -> float:
            # A first build: replacing an archive holds old and new in memory at the same time.
            for output in outputs:
                output.unlink(missing_ok=True)
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603
            return time.perf_counter() - start

        seconds(ours), seconds(theirs)  # warm the page cache
        pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    marsmith, archiver = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(theirs / ours for ours, theirs in pairs)
    click.echo(f"{megabytes} MB of random weights, medians of {rounds} alternating rounds")
    click.echo(f"  torch-model-archiver  {archiver:6.2f} s")
    click.echo(f"  marsmith build        {marsmith:6.2f} s")
    click.echo(f"  ratio                 {ratio:6.1f} x  (goal: {_GOAL:.0f} x)")
    sys.exit(0 if ratio >= _GOAL else 1)


def _make_project(folder: Path, megabytes: int) -> None:
    import torch

    (folder / "archives.toml").write_text(_SPEC)
    (folder / "handler.py").write_text(_HANDLER)
    (folder / "model.py").write_text(_MODEL)
    values = torch.frombuffer(bytearray(os.urandom(megabytes * 1_000_000)), dtype=torch.uint8)
    torch.save({"weight": values}, folder / "weights.pth")
