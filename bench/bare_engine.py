"""A process that does nothing but infer: what the engine gives when no one serves.

`python -m bench.bare_engine MODEL SECONDS` prints images per second over decoded tensors, on all
cores, as OpenVINO's documentation recommends for throughput: several requests at a time.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.failures import SystemFailedError
from bench.load import Load
from bench.places import ROOT


def loop(model: Path) -> Callable[[float], Load]:
    """Return a function that measures for so many seconds, in a process of its own."""

    def measure(seconds: float) -> Load:
        command: list[str | Path] = [sys.executable, "-m", "bench.bare_engine", model, str(seconds)]
        result = subprocess.run(  # noqa: S603
            command, cwd=ROOT, capture_output=True, text=True, check=False
        )
        if result.returncode:
            last = (result.stderr.strip().splitlines() or ["it gave no reason"])[-1]
            raise SystemFailedError(last)
        rate = float(result.stdout)
        return Load(rate, 0.0, 0.0)

    return measure


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


if __name__ == "__main__":
    print(_images_per_second(sys.argv[1], float(sys.argv[2])))  # noqa: T201
