"""TorchServe out of the box: its archiver, its own start command, its defaults.

It has an environment of its own: its handlers import OpenVINO, ONNX Runtime and more wherever they
find them, and would pay in time and memory for what Marsmith installs.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
class Settings:
    """What TorchServe is told beyond its defaults; `workers` 0 leaves as many as cores."""

    name: str
    workers: int = 0
    batch_size: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)

    def lines(self, archive: str, model: str) -> str:
        """Return the lines of config.properties, where a batch must be told with the model."""
        lines = f"default_workers_per_model={self.workers}\n" if self.workers else ""
        if self.batch_size == 1:
            return lines
        workers = self.workers or os.cpu_count() or 1
        told = {"marName": archive, "minWorkers": workers, "maxWorkers": workers}
        told |= {"batchSize": self.batch_size, "maxBatchDelay": 2, "responseTimeout": 120}
        return f"{lines}models={json.dumps({model: {'1.0': {'defaultVersion': True, **told}}})}\n"


OUT_OF_THE_BOX = Settings("TorchServe")
# What bench/stock_settings.py found: no thread waits for another one, and requests share a run.
BEST = Settings(
    "TorchServe, one thread, batches of 32",
    batch_size=32,
    environment={"OMP_NUM_THREADS": "1"},
)


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
            StockArchive(
                "digits-mix",
                f"{stock / 'digits_mix.py'}",
                models / "convnet.py",
                weights / "convnet.pth",
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


def stock_server(task: str, cases: Sequence[Case], settings: Settings = OUT_OF_THE_BOX) -> System:
    """Return TorchServe with the archive of a task, out of the box if nothing else is said."""
    return stock_system(pack(stock_archives()[task]), task, cases, settings)


def stock_system(
    archive: Path, model: str, cases: Sequence[Case], settings: Settings = OUT_OF_THE_BOX
) -> System:
    """Return TorchServe as `torchserve --start` starts it, with one archive."""

    def command(port: int, folder: Path) -> list[str | Path]:
        config = folder / "config.properties"
        lines = settings.lines(archive.name, model)
        config.write_text(_CONFIG.format(*range(port, port + 5)) + lines)
        start: list[str | Path] = [programs / "torchserve", "--start", "--foreground", "--ncs"]
        start += ["--model-store", archive.parent, "--models", f"{model}={archive.name}"]
        return [*start, "--ts-config", config]

    programs = environment("torchserve")
    path = os.pathsep.join([str(programs), str(java_executable().parent), os.environ["PATH"]])
    variables = {"PATH": path, **settings.environment}
    return System(settings.name, cases, command, post_raw(f"/predictions/{model}"), variables)


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
