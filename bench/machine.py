"""What was measured on: written beside every result."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import psutil

from bench.load import require_wrk
from bench.peer_servers import package_versions

_PACKAGES = ("torchserve", "torch", "torchvision", "pillow", "numpy", "openvino", "onnxruntime")


def machine() -> dict[str, str]:
    """Return the processor, its cores, the memory, the system and the versions of all."""
    memory = psutil.virtual_memory().total / 2**30
    facts = {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "wrk": _wrk(),
    }
    return facts | {name: _version(name) for name in _PACKAGES} | package_versions()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _wrk() -> str:
    # It has no option for its version alone: it tells it before its usage, and fails.
    told = subprocess.run([require_wrk(), "-v"], capture_output=True, text=True, check=False)  # noqa: S603
    return (told.stdout or told.stderr).split("[")[0].removeprefix("wrk ").strip()
