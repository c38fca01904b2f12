"""TorchServe out of the box: its archiver, its own start command, its defaults.

It has an environment of its own: its handlers import OpenVINO, ONNX Runtime and more wherever they
find them, and would pay in time and memory for what Marsmith installs.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.answers import Case
from bench.environments import environment
from bench.failures import BenchError
from bench.places import BENCH, ROOT, WORK
from bench.systems import System, post_raw
from marsmith.torchserve.java import java_executable

# Ports, and what lets a request of this machine in; all else is TorchServe's default.
_CONFIG = """\
inference_address=http://127.0.0.1:{0}
management_address=http://127.0.0.1:{1}
metrics_address=http://127.0.0.1:{2}
grpc_inference_port={3}
grpc_management_port={4}
disable_token_authorization=true
"""


@dataclass(frozen=True)
class StockArchive:
    """What torch-model-archiver is given."""

    name: str
    handler: str  # one of TorchServe's own, or a file
    model_file: Path
    weights: Path


def stock_archives() -> dict[str, StockArchive]:
    """Return the archives for TorchServe out of the box, by task."""
    models, stock, weights = ROOT / "model_defs", BENCH / "stock", ROOT / "weights"
    resnet18 = BENCH / "projects" / "resnet18" / "model_defs" / "resnet18.py"
    return {
        one.name: one
        for one in (
            StockArchive(
                "digits", f"{stock / 'digits.py'}", models / "convnet.py", weights / "convnet.pth"
            ),
            StockArchive("resnet18", "image_classifier", resnet18, WORK / "resnet18.pth"),
            StockArchive(
                "rotation",
                f"{stock / 'rotation.py'}",
                models / "rotation_net.py",
                weights / "rotation.pth",
            ),
            StockArchive(
                "cartoon",
                f"{stock / 'cartoon.py'}",
                models / "resnet_generator.py",
                weights / "cartoon.pth",
            ),
        )
    }


def stock_server(task: str, cases: Sequence[Case], name: str = "TorchServe") -> System:
    """Return TorchServe out of the box with the archive of a task."""
    archive = pack(stock_archives()[task])
    return stock_system(archive, task, cases, name)


def stock_system(archive: Path, model: str, cases: Sequence[Case], name: str) -> System:
    """Return TorchServe as `torchserve --start` starts it, with one archive."""

    def command(port: int, folder: Path) -> list[str | Path]:
        config = folder / "config.properties"
        config.write_text(_CONFIG.format(*range(port, port + 5)))
        start: list[str | Path] = [programs / "torchserve", "--start", "--foreground", "--ncs"]
        start += ["--model-store", archive.parent, "--models", f"{model}={archive.name}"]
        return [*start, "--ts-config", config]

    programs = environment("torchserve")
    path = os.pathsep.join([str(programs), str(java_executable().parent), os.environ["PATH"]])
    return System(name, cases, command, post_raw(f"/predictions/{model}"), {"PATH": path})


def pack(archive: StockArchive) -> Path:
    """Make the archive with torch-model-archiver and return its path."""
    store = WORK / "stock"
    staging = store / "staging"
    staging.mkdir(parents=True, exist_ok=True)
    archiver = environment("torchserve") / "torch-model-archiver"
    command: list[str | Path] = [archiver, "--force", "--version", "1.0"]
    command += ["--model-name", archive.name, "--export-path", store]
    command += ["--model-file", archive.model_file, "--serialized-file", archive.weights]
    command += ["--handler", archive.handler]
    result = subprocess.run(  # noqa: S603
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(staging)},
    )
    if result.returncode:
        last = result.stderr.strip().splitlines()[-1:]
        raise BenchError(f"torch-model-archiver failed: {last}", f"see: {archiver} --help")
    return store / f"{archive.name}.mar"
