"""Processes that do nothing but the work: what the cores give when no one serves.

`python -m bench.bare_engine MODEL SECONDS` prints images per second over decoded tensors, on all
cores, as OpenVINO's documentation recommends for throughput: several requests at a time.
`python -m bench.bare_engine MODEL SECONDS PHOTO` decodes and infers, one photo after the other, on
one core, as a worker does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.failures import SystemFailedError
from bench.load import Load
from bench.places import ROOT

_BATCH = 4  # as bench/projects/resnet18/archives.toml has it


def loop(model: Path) -> Callable[[float], Load]:
    """Return a function that measures for so many seconds, in a process of its own."""

    return lambda seconds: Load(_measured([(model, str(seconds))]), 0.0, 0.0)


def whole_loop(model: Path, photo: bytes) -> Callable[[float], Load]:
    """Return the same for the whole work on a photo: a process for each core decodes and infers."""

    def measure(seconds: float) -> Load:
        with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
            file.write(photo)
            file.flush()
            words = (model, str(seconds), file.name)
            return Load(_measured([words] * (os.cpu_count() or 1)), 0.0, 0.0)

    return measure


def _measured(each: Sequence[Sequence[str | Path]]) -> float:
    """Run a process for each, at the same time; return the sum of their rates."""
    running = [
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "bench.bare_engine", *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for words in each
    ]
    rates = []
    for one in running:
        told, complaint = one.communicate()
        if one.returncode:
            last = (complaint.strip().splitlines() or ["it gave no reason"])[-1]
            raise SystemFailedError(last)
        rates.append(float(told))
    return sum(rates)


def _images_per_second(model: str, seconds: float) -> float:
    import numpy as np
    import openvino  # type: ignore[import-untyped, unused-ignore]

    compiled = openvino.Core().compile_model(model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
    queue = openvino.AsyncInferQueue(compiled)
    images = np.random.default_rng(0).standard_normal((8, 1, 3, 224, 224), dtype=np.float32)
    for image in images:  # warm
        queue.start_async(image)
    queue.wait_all()
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        queue.start_async(images[count % len(images)])
        count += 1
    queue.wait_all()
    return count / (time.perf_counter() - begin)


def _photos_per_second(model: str, seconds: float, photo: str) -> float:
    import numpy as np

    from bench.jpeg import preparation

    prepare = preparation()
    from marsmith_handlers.onnx_engines import OpenVino

    engine, body = OpenVino(Path(model), 1, "bfloat16"), Path(photo).read_bytes()

    def answer() -> None:
        engine(np.stack([prepare(body).numpy() for _ in range(_BATCH)]))

    answer()  # warm
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        answer()
        count += _BATCH
    return count / (time.perf_counter() - begin)


if __name__ == "__main__":
    path, length, *photos = sys.argv[1:]
    rate = _photos_per_second if photos else _images_per_second
    print(rate(path, float(length), *photos))  # noqa: T201
