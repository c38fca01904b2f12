"""Which accelerators a model-config asks TorchServe for, and whether this machine has them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from marsmith.core.findings import Severity

VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
_RUN_BY_TORCHRUN = ("pp", "tp", "pptp")
_OTHER_DEVICES = ("kfd", "dxg")  # of AMD, and of Linux within Windows: their number is not known
Problem = tuple[str, str, str, Severity]  # the key, what is wrong, what to do


def gpus_here(devices: Path = Path("/dev"), environ: Mapping[str, str] = os.environ) -> int | None:
    """Return how many GPUs a worker would see, or None if that cannot be told."""
    if sys.platform != "linux" or any((devices / name).exists() for name in _OTHER_DEVICES):
        return None
    cards = sum(re.fullmatch(r"nvidia\d+", path.name) is not None for path in devices.iterdir())
    visible = _visible(environ)
    if visible is None or not cards:
        return cards
    return sum(not name.isdecimal() or int(name) < cards for name in visible)


def gpu_of(config: Mapping[str, Any], gpus: int | None, worker: int = 0) -> int | None:
    """Return the GPU that a worker gets with a model-config, None for the CPU.

    `worker` counts the workers of a model: they take the GPUs in turn.
    """
    if config.get("deviceType") != "gpu" or gpus == 0:
        return None
    given = config.get("deviceIds")
    named = [one for one in given if isinstance(one, int)] if isinstance(given, list) else []
    ids = named or range(gpus or 1)
    return max(0, ids[worker % len(ids)])


def front_end_devices(environ: Mapping[str, str]) -> tuple[str | None, dict[str, str]]:
    """Return what only workers may know of CUDA_VISIBLE_DEVICES, and properties instead of it.

    TorchServe's front end takes numbers alone, and ends at once if it names slices or UUIDs
    (ConfigManager.java, getAvailableGpu). Empty it means all cards to it, and none to CUDA, as -1.
    """
    visible, given = _visible(environ), environ.get(VISIBLE_DEVICES, "")
    if visible is None or re.fullmatch(r"\d+(\s*,\s*\d+)*", given):
        return None, {}
    return given, {"number_of_gpu": str(len(visible))}


def _visible(environ: Mapping[str, str]) -> list[str] | None:
    """Return what CUDA_VISIBLE_DEVICES names, up to the first -1; None if it is not set."""
    if VISIBLE_DEVICES not in environ:
        return None
    names = [name.strip() for name in environ[VISIBLE_DEVICES].split(",")]
    return list(takewhile(lambda name: name and not name.startswith("-"), names))


def device_problems(config: Mapping[str, Any], gpus: int | None) -> Iterator[Problem]:
    """Yield what TorchServe ignores or cannot do with a model-config on this machine."""
    if gpus is not None:
        yield from _without_gpus(config, gpus)
    yield from _without_torchrun(config)


def _without_torchrun(config: Mapping[str, Any]) -> Iterator[Problem]:
    kind, level = config.get("parallelType"), config.get("parallelLevel")
    if "parallelLevel" in config and not kind:
        message = "TorchServe ignores parallelLevel without parallelType"
        yield (
            "parallelLevel",
            message,
            "add parallelType, or remove parallelLevel",
            Severity.WARNING,
        )
    elif kind in _RUN_BY_TORCHRUN and "torchrun" not in config:
        count = level if isinstance(level, int) and level > 0 else 2
        message = f"parallelType {kind!r} starts its workers by torchrun, and there is no torchrun"
        hint = f"add torchrun = {{ nproc-per-node = {count} }} to the serving table"
        hint += ", which sets parallelLevel" if level else ""
        yield "parallelType", message, hint, Severity.ERROR
    elif kind == "custom" and isinstance(level, int) and level > 1 and "torchrun" not in config:
        # WorkerThread.java connects to as many sockets, and only one process listens.
        message = f"TorchServe waits for {level} processes of each worker, and starts one"
        hint = "remove parallelLevel, and let the handler choose its GPUs"
        yield "parallelLevel", message, hint, Severity.ERROR


def _without_gpus(config: Mapping[str, Any], gpus: int) -> Iterator[Problem]:
    has = f"this machine has {gpus or 'no'} GPU{'' if gpus == 1 else 's'}"
    ids = config.get("deviceIds")
    missing = [one for one in ids if isinstance(one, int) and one >= gpus] if ids else []
    if missing:
        message = f"deviceIds names {', '.join(map(str, missing))}, and {has}: TorchServe ignores"
        message += " all of them" + ("" if gpus else " and computes on the CPU")
        hint = (
            f"name only those below {gpus}" if gpus else "remove deviceIds, or serve it with GPUs"
        )
        yield "deviceIds", message, hint, Severity.WARNING
    elif config.get("deviceType") == "gpu" and not gpus:
        message = f"deviceType is 'gpu', and {has}: TorchServe computes on the CPU"
        hint = 'set deviceType = "cpu", or serve it on a machine with GPUs'
        yield "deviceType", message, hint, Severity.WARNING
