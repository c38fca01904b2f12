"""ResNet-50 on one GPU: a worker as TorchServe runs it, against eager PyTorch fed by Pillow.

Anchors, of others' machines: an H100 does 88,714 images/s offline on ready int8 tensors (MLPerf
inference 4.0), Triton with TensorRT on an A100 6,127 requests/s, and torchvision decodes some 7,700
small JPEGs a second on an A100.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench import tasks
from bench.failures import SystemFailedError
from bench.marsmith_server import Setup, make_project, marsmith
from bench.pictures import photo
from bench.places import WORK
from bench.results import Goal, Result, Series, Table, compare
from bench.rounds import Effort
from marsmith.answers.messages import Request
from marsmith.worker.runtime import Runtime

_PHOTO = (1280, 960)
_PHOTOS = 4
_BATCH = 64
_TOLERANCE = 0.05  # of the largest probability: bfloat16, and another decoder
Step = Callable[[], int]  # answers a batch, and returns how many pictures it had
_JPEG_GOAL = Goal("ResNet-50 on a GPU, 1280x960 JPEG", "eager PyTorch fed by Pillow", 4)
_TENSOR_GOAL = Goal("ResNet-50 on a GPU, ready tensors", "eager PyTorch", 2)


def gpu(effort: Effort) -> Result:
    """Measure both on JPEGs and on ready tensors, in turn. Raises SystemFailedError without GPU."""
    if not torch.cuda.is_available():
        raise SystemFailedError("this machine has no GPU that PyTorch can use")
    return measured(effort, torch.device("cuda"))


def measured(effort: Effort, device: torch.device) -> Result:
    """Measure on a device; on the CPU this only tells whether the program works."""
    photos = [photo(*_PHOTO, number) for number in range(_PHOTOS)]
    tensors = [tasks.standard_input(body, 256, 224) for body in photos]
    model = tasks.random_resnet("resnet50")
    archive = _archive(model)
    with Runtime(archive, timeout=600) as runtime:
        _require_right(runtime, model, photos[0], tensors[0])
        jpeg = {"Marsmith": _worker(runtime, photos)}
        for threads in (1, os.cpu_count() or 1):
            name = f"eager float32, {threads} threads of Pillow"
            jpeg[name] = _eager(model.to(device), device, photos, threads)
        jpegs = _table("images/s, 1280x960 JPEGs", jpeg, effort)
    ready = {
        "Marsmith": _engine(archive.parents[1], device, tensors),
        "eager float32": _network(model, device, tensors),
    }
    tables = [jpegs, _table("images/s, tensors in the memory of the machine", ready, effort)]
    goals = [
        compare(goal, table.series[0], table.series[1:])
        for goal, table in zip((_JPEG_GOAL, _TENSOR_GOAL), tables, strict=True)
    ]
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    note = f"Measured on: {card}, one worker, batches of {_BATCH}. Marsmith computes in bfloat16."
    return Result("gpu", tables, goals, notes=[note])


def _archive(model: torch.nn.Module) -> Path:
    WORK.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), WORK / "resnet50.pth")
    folder = make_project(Setup("resnet50", "resnet50"))
    marsmith(folder, "build")
    return folder / "model_store" / "resnet50.mar"


def _require_right(
    runtime: Runtime, model: torch.nn.Module, body: bytes, tensor: torch.Tensor
) -> None:
    with torch.inference_mode():
        expected = model(tensor[None]).softmax(1)[0].numpy()
    answer = json.loads(runtime.predict(Request(body, "image/jpeg")).body)
    found = np.array(list(answer["probabilities"].values()))
    if np.abs(found - expected).max() > _TOLERANCE * expected.max():
        raise SystemFailedError("the worker's answer is not eager's")


def _table(title: str, steps: Mapping[str, Step], effort: Effort) -> Table:
    """Measure all in turn, once in each round, after a warm-up of each."""
    series = {name: Series(name) for name in steps}
    for step in steps.values():
        step()
    for _ in range(effort.rounds):
        for name, step in steps.items():
            begin, count = time.perf_counter(), 0
            while time.perf_counter() - begin < effort.seconds:
                count += step()
            series[name].values.append(count / (time.perf_counter() - begin))
    return Table(title, "images/s", list(series.values()))


def _worker(runtime: Runtime, photos: Sequence[bytes]) -> Step:
    requests = [Request(body, "image/jpeg") for body in islice(cycle(photos), _BATCH)]

    def step() -> int:
        refused = [answer for answer in runtime.predict_batch(requests) if not answer.ok]
        if refused:
            raise SystemFailedError(f"the worker answers with {refused[0].status}")
        return len(requests)

    return step


def _eager(
    model: torch.nn.Module, device: torch.device, photos: Sequence[bytes], threads: int
) -> Step:
    pool = ThreadPoolExecutor(threads)
    bodies = list(islice(cycle(photos), _BATCH))

    def step() -> int:
        inputs = list(pool.map(lambda body: tasks.standard_input(body, 256, 224), bodies))
        with torch.inference_mode():
            model(torch.stack(inputs).to(device)).softmax(1).cpu()
        return len(bodies)

    return step


def _network(model: torch.nn.Module, device: torch.device, tensors: Sequence[Tensor]) -> Step:
    model = model.to(device)
    batch = torch.stack(list(islice(cycle(tensors), _BATCH)))

    def step() -> int:
        with torch.inference_mode():
            model(batch.to(device)).cpu()
        return len(batch)

    return step


def _engine(project: Path, device: torch.device, tensors: Sequence[Tensor]) -> Step:
    """Return a step of what the handler computes with."""
    sys.path += [str(project / "handlers"), str(project / "model_defs")]
    from marsmith_handlers.model_loader import load_model

    model = {"modelFile": "resnet50.py", "serializedFile": "resnet50.pth"}
    gpu = 0 if device.type == "cuda" else None
    engine = load_model(project / "weights", model, dtype="bfloat16", gpu=gpu, threads=1)
    arrays = [tensor.numpy() for tensor in islice(cycle(tensors), _BATCH)]

    def step() -> int:
        engine(engine.stack(arrays))
        return len(arrays)

    return step
