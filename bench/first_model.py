"""From a .pth to the first right answer over HTTP: what a user writes, and how long it takes.

Each system starts in an empty folder with `best.pth` in it. A user of LitServe or BentoML writes
the file in bench/first_model_apps/, in the form that their documentation shows; a user of Marsmith
types three commands.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision

from bench.answers import Case
from bench.environments import environment
from bench.failures import SystemFailedError
from bench.pictures import photo
from bench.places import BENCH, TOOLS, WORK
from bench.results import Goal, Result, Series, Table, compare
from bench.rounds import Effort
from bench.start import seconds_to_answer
from bench.systems import System, post_form, post_raw

_APPS = BENCH / "first_model_apps"
_CLASSES = 3
# Counted in docs/getting-started-own-model.md of replicate/cog, at commit 078c66a.
_COG = (
    "Cog, not measured: 5 lines of cog.yaml and 14 of predict.py, to which one adds what comes "
    "before and after the network; it needs Docker."
)


@dataclass(frozen=True)
class _Task:
    """A model of torchvision with random weights, its classes, and keys of the systems' answers."""

    name: str
    build: Callable[[], torch.nn.Module]
    classes: str
    keys: tuple[str, ...]


def _segmentation() -> torch.nn.Module:
    model: torch.nn.Module = torchvision.models.segmentation.lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=_CLASSES
    )
    return model


def _detection() -> torch.nn.Module:
    model: torch.nn.Module = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=_CLASSES
    )
    return model


def _classification() -> torch.nn.Module:
    model: torch.nn.Module = torchvision.models.resnet18(num_classes=_CLASSES)
    return model


_TASKS = (
    _Task("classifier", _classification, "daisy,rose,tulip", ("probabilities",)),
    _Task("segmenter", _segmentation, "ground,leaf,flower", ("classes", "shares")),
    _Task("detector", _detection, "ground,bee,wasp", ("boxes",)),
)


def first_model(effort: Effort) -> Result:
    """Take the three models to an answer with each system in turn, and count what is written."""
    result = Result("first-model")
    for task in _TASKS:
        weights = _weights(task)
        systems = [_marsmith(task, weights), _litserve(task, weights), _bentoml(task, weights)]
        series = [_timed(system, effort) for system in systems]
        result.tables.append(Table(f"{task.name}: from the .pth to the first answer", "s", series))
        goal = Goal(f"{task.name}, from the .pth to the first answer", "the peers", 2.0, True)
        result.comparisons.append(compare(goal, series[0], series[1:], less=True))
        result.notes.append(_lines(task))
    result.notes.append(_COG)
    return result


def _timed(system: System, effort: Effort) -> Series:
    series = Series(system.name)
    for number in range(effort.rounds + 1):
        try:
            seconds = seconds_to_answer(system)
        except SystemFailedError as error:
            return Series(system.name, [], str(error))
        if number:  # the first time fills the page cache
            series.values.append(seconds)
    return series


def _weights(task: _Task) -> Path:
    path = WORK / f"first-{task.name}.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.save(task.build().state_dict(), path)
    return path


def _case(task: _Task) -> Case:
    def check(body: bytes) -> str | None:
        answer: Any = json.loads(body)
        # Marsmith's detector answers a list of boxes.
        known = isinstance(answer, list) or any(key in answer for key in task.keys)
        return None if known else f"none of {task.keys} in {answer}"

    return Case(task.name, photo(640, 480), "image/jpeg", check)


def _marsmith(task: _Task, weights: Path) -> System:
    def command(port: int, folder: Path) -> list[str | Path]:
        shutil.copy(weights, folder / "best.pth")
        program = f'"{TOOLS / "marsmith"}"'
        init = f"{program} init flowers --weights best.pth --classes {task.classes}"
        script = f"{init} && {program} build && exec {program} serve --port {port}"
        return ["bash", "-c", script]

    return System("Marsmith", [_case(task)], command, post_raw("/predictions/flowers"))


def _litserve(task: _Task, weights: Path) -> System:
    programs = environment("litserve")

    def command(port: int, folder: Path) -> list[str | Path]:
        shutil.copy(weights, folder / "best.pth")
        shutil.copy(_APPS / "litserve" / f"{task.name}.py", folder / "server.py")
        return [programs / "python", "server.py", str(port)]

    return System("LitServe", [_case(task)], command, post_form("/predict", "request"))


def _bentoml(task: _Task, weights: Path) -> System:
    programs = environment("bentoml")

    def command(port: int, folder: Path) -> list[str | Path]:
        shutil.copy(weights, folder / "best.pth")
        shutil.copy(_APPS / "bentoml" / f"{task.name}.py", folder / "service.py")
        return [programs / "bentoml", "serve", "service:Service", "--port", str(port)]

    environ = {"BENTOML_DO_NOT_TRACK": "true"}  # nothing leaves this machine
    return System("BentoML", [_case(task)], command, post_form("/predict", "image"), environ)


def _lines(task: _Task) -> str:
    """Say how many lines a user writes: neither empty ones nor comments."""
    counts = []
    for peer, name in (("litserve", "LitServe"), ("bentoml", "BentoML")):
        text = (_APPS / peer / f"{task.name}.py").read_text()
        lines = [line for line in text.splitlines() if line.strip() and line.strip()[0] != "#"]
        counts.append(f"{name} {len(lines)}")
    return f"{task.name}: lines that a user writes: Marsmith 0, {', '.join(counts)}."
