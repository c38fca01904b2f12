"""Marsmith as it is used: a project built by `marsmith build` and served by `marsmith serve`."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.answers import Case
from bench.failures import SystemFailedError
from bench.pictures import photo, write_photos
from bench.places import ARTIFACTS, BENCH, PHOTOS, ROOT, TOOLS, WORK
from bench.systems import System, post_raw

_SHARED = ("handlers", "config.properties")
_OWN = ("archives.toml", "model_defs", "weights", "samples")


@dataclass(frozen=True)
class Setup:
    """How a task is served: from which project, which archive, made by which commands.

    `project` is a folder of bench/projects/, or empty for this repository itself. `workers` is what
    the archive is scaled to; 0 leaves it, and `batch_size`, as archives.toml says.
    """

    archive: str
    project: str = ""
    commands: tuple[tuple[str, ...], ...] = ()  # of marsmith, after `marsmith build`
    workers: int = 0
    batch_size: int = 0

    @property
    def built(self) -> str:
        """The archive that `marsmith build` makes, which the commands start from."""
        return re.split("-o(?:penvino|nnx)", self.archive)[0]


def _export(name: str, dtype: str, *more: str, kind: str = "openvino") -> tuple[str, ...]:
    kept = ("--keep", str(ARTIFACTS))
    return ("export", name, "--format", kind, "--dtype", dtype, *kept, *more)


# What Marsmith is measured with; archives.toml and bench/projects/resnet18/archives.toml hold the
# rest. `resnet18` needs a sample before it can be exported: what eager answers.
_RESNET18 = Setup(
    "resnet18-openvino-bfloat16",
    "resnet18",
    (
        ("sample", "resnet18", "photo.jpg", "--yes"),
        _export("resnet18", "bfloat16", "--calibrate", str(PHOTOS)),
    ),
)
SETUPS = {
    "digits": Setup("digits", workers=2),
    "digits-alone": Setup(
        "digits-onnx",
        commands=(_export("digits", "float32", kind="onnx"),),
        batch_size=1,
    ),
    "resnet18": _RESNET18,
    "rotation": Setup(
        "rotation-openvino-int8",
        commands=(
            _export("rotation", "int8", "--calibrate", str(PHOTOS), "--sample-tolerance", "0.05"),
        ),
        workers=2,
    ),
    "cartoon": Setup(
        "cartoon-openvino-bfloat16",
        commands=(_export("cartoon", "bfloat16"),),
        workers=2,
    ),
}


def marsmith_server(task: str, cases: Sequence[Case], name: str = "Marsmith") -> System:
    """Return Marsmith with the archive of a task, built anew in this run."""
    folder, notes = built(task)
    system = marsmith_system(folder, [SETUPS[task].archive], cases, name)
    system.notes = notes
    return system


@cache  # several trials serve the same, and an export takes a minute
def built(task: str) -> tuple[Path, list[str]]:
    """Build and export; return the project's folder, and how well the exported model agrees."""
    setup = SETUPS[task]
    folder = make_project(setup, task)
    marsmith(folder, "build", setup.built)
    if not PHOTOS.exists():
        write_photos(PHOTOS)
    said = [marsmith(folder, *arguments) for arguments in setup.commands]
    return folder, [line.strip() for text in said for line in text.splitlines() if "agree" in line]


def marsmith_system(
    folder: Path, archives: Sequence[str], cases: Sequence[Case], name: str
) -> System:
    """Return Marsmith as `marsmith serve` starts it; the first of a project's archives is asked."""

    def command(port: int, _: Path) -> list[str | Path]:
        return [TOOLS / "marsmith", "--project", folder, "serve", *archives, "--port", str(port)]

    return System(name, cases, command, post_raw(f"/predictions/{archives[0]}"))


def repeat_archive(archives: Path, name: str, count: int) -> list[str]:
    """Write the tables of one archive alone, under `count` names, and return these."""
    tables = archives.read_text().split("\n[")
    own = [table for table in tables if table.lstrip("[").startswith(f"archives.{name}")]
    names = [f"{name}-{number}" for number in range(1, count + 1)]
    mark = f"archives.{name}"
    copies = [
        table.replace(mark, f"archives.{copy}", 1) if mark in table.split("\n")[0] else table
        for copy in names
        for table in own
    ]
    archives.write_text("\n".join(f"[{table}" for table in copies))
    return names


def make_project(setup: Setup, name: str = "") -> Path:
    """Copy the project of a setup, with the handlers and weights of now, and return its folder."""
    source = BENCH / "projects" / setup.project if setup.project else ROOT
    folder = WORK / "projects" / (name or setup.project or "repository")
    shutil.rmtree(folder, ignore_errors=True)
    for root, names in ((ROOT, _SHARED), (source, _OWN)):
        for name in names:
            if (root / name).is_dir():
                shutil.copytree(
                    root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
                )
            elif (root / name).exists():
                shutil.copy(root / name, folder / name)
    if setup.project:
        (folder / "weights").mkdir()
        shutil.copy(WORK / f"{setup.project}.pth", folder / "weights")
        (folder / "photo.jpg").write_bytes(photo(640, 480))
    _set_serving(folder / "archives.toml", setup)
    return folder


def marsmith(folder: Path, *arguments: str) -> str:
    """Run a marsmith command in a project; raises SystemFailedError with its error."""
    command: list[str | Path] = [TOOLS / "marsmith", "--project", folder, *arguments]
    result = subprocess.run(  # noqa: S603
        command, cwd=folder, capture_output=True, text=True, check=False
    )
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines() or ["it gave no reason"]
        told = next((line for line in lines if line.lower().startswith("error")), lines[-1])
        raise SystemFailedError(f"marsmith {' '.join(arguments)}: {told}")
    return result.stdout


def _set_serving(archives: Path, setup: Setup) -> None:
    """Start with as many workers as the archive may have; it is not scaled later."""
    wanted = {"minWorkers": setup.workers, "batchSize": setup.batch_size}
    before, mark, table = archives.read_text().partition(f"[archives.{setup.built}.serving]")
    own, following, rest = table.partition("\n[")
    for key, value in wanted.items():
        if value:
            own = re.sub(rf"^{key} = .*$", f"{key} = {value}", own, flags=re.MULTILINE)
    archives.write_text(before + mark + own + following + rest)
