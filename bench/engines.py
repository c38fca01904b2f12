"""What each engine gives by itself: ResNet-18 over decoded tensors, loaded as a worker loads it.

`python -m bench.engines FILE ENGINE DTYPE ROUNDS` prints images per second in each of so many
rounds of a second, a line for each size of a batch; FILE is a model's file, or a state_dict of
bench/projects/resnet18.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench import tasks
from bench.failures import SystemFailedError
from bench.marsmith_server import Setup, make_project, marsmith
from bench.peer_servers import WEIGHTS
from bench.pictures import write_photos
from bench.places import ARTIFACTS, BENCH, PHOTOS, ROOT
from bench.results import Result, Series, Table, beside_first
from bench.rounds import Effort

_BATCHES = (1, 8)
_ROUND = 1.0  # seconds: an engine alone is steady
_PHOTOS = 20  # of random weights; how well int8 agrees on trained ones, `rotation` tells
_CLASS = BENCH / "projects" / "resnet18" / "model_defs"
# Engine and dtype → the format that `marsmith export` writes for it; empty: from the class itself.
_ENGINES = {
    ("eager", "float32"): "",
    ("eager", "bfloat16"): "",
    ("torchscript", "float32"): "",
    ("compile", "float32"): "",
    ("compile", "bfloat16"): "",
    ("aotinductor", "float32"): "aotinductor",
    ("aotinductor", "bfloat16"): "aotinductor",
    ("onnxruntime", "float32"): "onnx",
    ("onnxruntime", "int8"): "onnx",
    ("openvino", "float32"): "openvino",
    ("openvino", "bfloat16"): "openvino",
    ("openvino", "int8"): "openvino",
}


def engines(effort: Effort) -> Result:
    """Measure all engines on all cores, one after the other, with one and eight pictures."""
    weights = WEIGHTS["resnet18"]
    tasks.write_resnet18_weights(weights)
    project = make_project(Setup("resnet18", "resnet18"))
    marsmith(project, "build", "resnet18")
    marsmith(project, "sample", "resnet18", "photo.jpg", "--yes")
    if not PHOTOS.exists():
        write_photos(PHOTOS)
    series = {(*key, batch): Series(" ".join(key)) for key in _ENGINES for batch in _BATCHES}
    files = {key: weights for key, kind in _ENGINES.items() if not kind}
    for (engine, dtype), kind in _ENGINES.items():
        if kind:
            try:
                files[engine, dtype] = _exported(project, kind, dtype)
            except SystemFailedError as error:
                for batch in _BATCHES:
                    series[engine, dtype, batch].failure = str(error)
    for (engine, dtype), file in files.items():
        own = [series[engine, dtype, batch] for batch in _BATCHES]
        _measure(own, file, engine, dtype, effort.rounds)
    tables = [
        Table(
            f"images/s, batches of {batch}",
            "images/s",
            [one for key, one in series.items() if key[2] == batch],
        )
        for batch in _BATCHES
    ]
    return Result("engines", tables, notes=list(map(beside_first, tables)))


def _exported(project: Path, kind: str, dtype: str) -> Path:
    arguments = ["--format", kind, "--dtype", dtype, "--keep", str(ARTIFACTS)]
    if dtype != "float32":
        few = project / "photos"
        few.mkdir(exist_ok=True)
        for photo in sorted(PHOTOS.iterdir())[:_PHOTOS]:
            shutil.copy(photo, few)
        arguments += ["--calibrate", str(few), "--agreement", "0", "--sample-tolerance", "0.2"]
    marsmith(project, "export", "resnet18", *arguments)
    stem = f"resnet18-{kind}" + (f"-{dtype}" if dtype != "float32" else "")
    endings = {"aotinductor": ".pt2", "onnx": ".onnx", "openvino": ".xml"}
    return ARTIFACTS / f"{stem}{endings[kind]}"


def _measure(own: list[Series], file: Path, engine: str, dtype: str, rounds: int) -> None:
    words = [str(file), engine, dtype, str(rounds)]
    result = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "bench.engines", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        for one in own:
            one.failure = (result.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        return
    for one, line in zip(own, result.stdout.splitlines()[-len(own) :], strict=True):
        one.values += map(float, line.split())


def _images_per_second(file: Path, engine: str, dtype: str, rounds: int) -> list[list[float]]:
    import torch

    sys.path[:0] = [str(ROOT / "handlers"), str(_CLASS)]
    from marsmith_handlers.model_loader import load_model

    model = {"serializedFile": file.name}
    if file.suffix == ".pth":
        model["modelFile"] = "resnet18.py"
    run: Any = load_model(file.parent, model, engine, dtype, threads=torch.get_num_threads())
    found = []
    for size in _BATCHES:
        pictures = run.stack([torch.randn(3, 224, 224).numpy() for _ in range(size)])
        step = partial(run, pictures)
        for _ in range(5):
            step()
        found.append([size * _rate(step) for _ in range(rounds)])
    return found


def _rate(step: Callable[[], Any]) -> float:
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < _ROUND:
        step()
        count += 1
    return count / (time.perf_counter() - begin)


if __name__ == "__main__":
    path, *words = sys.argv[1:]
    for rates in _images_per_second(Path(path), words[0], words[1], int(words[2])):
        print(*rates)  # noqa: T201
