"""Which accelerators a model-config asks TorchServe for, and whether this machine has them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from marsmith.core.findings import Severity

_RUN_BY_TORCHRUN = ("pp", "tp", "pptp")
_OTHER_DEVICES = ("kfd", "dxg")  # of AMD, and of Linux within Windows: their number is not known
Problem = tuple[str, str, str, Severity]  # the key, what is wrong, what to do


def gpus_here(devices: Path = Path("/dev")) -> int | None:
    """Return how many GPUs this machine has, or None if that cannot be told."""
    if sys.platform != "linux" or any((devices / name).exists() for name in _OTHER_DEVICES):
        return None
    names = (path.name for path in devices.glob("nvidia*"))
    return sum(re.fullmatch(r"nvidia\d+", name) is not None for name in names)


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
