"""An environment that has Marsmith's wheel and what it needs without any extra: no PyTorch."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.integration.kit import ROOT

UV = Path(sys.executable).with_name("uv")


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and the command in it."""

    folder: Path

    def __call__(
        self, *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment to its end."""
        program, *rest = map(str, arguments)
        return subprocess.run(
            [str(self.folder / "bin" / program), *rest],
            cwd=cwd,
            env=os.environ | {"NO_COLOR": "1", **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def copy_source(target: Path) -> Path:
    """Copy what git would commit here: without what builds and runs have left."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def build_distributions(source: Path, target: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel of what is in it, with the locked tools; return both."""
    command: list[str | Path] = [UV, "build", "--no-build-isolation", "--offline", "--quiet"]
    command += ["--python", sys.executable, "--out-dir", target, source]
    subprocess.run(command, check=True, timeout=120)
    return next(target.glob("*.tar.gz")), next(target.glob("*.whl"))


def base_environment(
    folder: Path, wheel: Path, extras: Sequence[str] = (), also: Sequence[str] = ()
) -> Environment:
    """Make an environment of the wheel and its requirements, linked from this environment.

    Nothing is downloaded, and nothing of an extra is there but of those named; `also` names more
    distributions.
    """
    venv.create(folder, with_pip=False)
    site = next(folder.glob("lib/python*/site-packages"))
    command: list[str | Path] = [UV, "pip", "install", "--offline", "--no-deps", "--quiet"]
    command += ["--python", folder / "bin" / "python", wheel]
    subprocess.run(command, check=True, timeout=60)
    with ZipFile(wheel) as file:
        (metadata,) = (name for name in file.namelist() if name.endswith("/METADATA"))
        text = file.read(metadata).decode().partition("\n\n")[0]
    needed = [line.partition(": ")[2] for line in text.splitlines() if "Requires-Dist" in line]
    waiting = [(Requirement(line), extra) for line in needed for extra in ("", *extras)]
    waiting += [(Requirement(name), "") for name in also]
    for distribution in _closure(waiting):
        _link(distribution, site)
    return Environment(folder)


def _link(distribution: importlib.metadata.Distribution, site: Path) -> None:
    """Link a distribution's files, and the bytecode beside them, which would take seconds."""
    for path in distribution.files or ():
        if ".." in path.parts or path.suffix == ".pyc":
            continue
        source, target = Path(str(path.locate())).resolve(), site / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source)
        compiled = target.parent / "__pycache__"
        if path.suffix == ".py" and not compiled.is_symlink():
            compiled.symlink_to(source.parent / "__pycache__")


def _closure(waiting: list[tuple[Requirement, str]]) -> Iterator[importlib.metadata.Distribution]:
    """Yield the distributions that requirements lead to, as they are installed here."""
    seen: set[tuple[str, str]] = set()
    given: set[str] = {"marsmith"}  # the wheel itself, which an extra names
    while waiting:
        one, extra = waiting.pop()
        if one.marker and not one.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(one.name)
        distribution = importlib.metadata.distribution(name)
        if name not in given:
            given.add(name)
            yield distribution
        for wanted in ("", *one.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                waiting += [(Requirement(line), wanted) for line in distribution.requires or ()]
