"""A read-only view of a model archive, in whichever form."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from marsmith.answers.samples import SAMPLES_FILE, Sample, parse_samples
from marsmith.archive.containers import Entry, open_container
from marsmith.archive.manifest import MANIFEST_FILE, Manifest, parse_manifest
from marsmith.core.errors import ArchiveError
from marsmith.core.hashing import sha256_of

_MOST_VALUES = 100_000  # of a model-config; YAML's aliases can make billions of a few lines


class Archive:
    """What a `.mar`, a `.tar.gz` or an unpacked archive holds. Opening raises ArchiveError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise ArchiveError(
                f"there is no archive {path}", f"build it: marsmith build {self.name}"
            )
        if not os.access(path, os.R_OK):
            raise ArchiveError(f"{path} may not be read", "mend its permissions")
        self._container = open_container(path)

    @property
    def name(self) -> str:
        """The name under which the model store offers it."""
        return re.sub(r"\.(mar|tar\.gz|tgz)$", "", self.path.name or self.path.resolve().name)

    @property
    def entries(self) -> list[Entry]:
        """Its files in their order; a damaged archive may name one twice."""
        return self._container.entries

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of its files."""
        return frozenset(entry.name for entry in self.entries)

    def read(self, name: str, size: int = -1) -> bytes:
        """Return one file's bytes, or its first ones. Raises ArchiveError if it is damaged."""
        return self._container.read(name, size)

    def copy(self, name: str, target: Path) -> None:
        """Write one file, however large, to a path. Raises ArchiveError."""
        self._container.copy(name, target)

    def unpack(self, folder: Path) -> None:
        """Write all its files below a folder. Raises ArchiveError, also for a name that escapes."""
        self._container.unpack(folder)

    @cached_property
    def manifest(self) -> Manifest:
        """What the archive says of itself."""
        return parse_manifest(self.read(MANIFEST_FILE))

    @cached_property
    def model_config(self) -> dict[str, Any]:
        """The values of its model-config file; empty if it has none. Raises ArchiveError."""
        name = self.manifest.config_file
        if name is None:
            return {}
        import yaml  # not needed to build or list archives, and slow to import

        try:
            values = yaml.safe_load(self.read(name))
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # no YAML; no date; a bomb
            raise ArchiveError(
                f"{self.path}: {name} is not YAML", "write lines such as minWorkers: 1"
            ) from error
        if not _is_bounded(values):
            raise ArchiveError(f"{self.path}: {name} repeats itself without end", "write it anew")
        if not isinstance(values, dict):
            problem = "is empty" if values is None else "is no table of keys and values"
            raise ArchiveError(
                f"{self.path}: {name} {problem}, and TorchServe fails on it",
                "write lines such as minWorkers: 1",
            )
        return values

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """The requests and answers that prove it; empty if it was built without any."""
        return parse_samples(self.read(SAMPLES_FILE)) if SAMPLES_FILE in self.names else ()

    @cached_property
    def digest(self) -> str:
        """The sha256 of the file, in hex; of an unpacked archive, that of its names and files."""
        if not self.path.is_dir():
            return sha256_of(self.path)
        lines = (f"{sha256_of(self.read(name))}  {name}\n" for name in sorted(self.names))
        return sha256_of("".join(lines).encode())


def _is_bounded(values: Any) -> bool:
    """Whether so many values can be looked at, one by one."""
    left = [values]
    for _ in range(_MOST_VALUES):
        if not left:
            return True
        value = left.pop()
        if isinstance(value, dict):
            left += [*value, *value.values()]
        elif isinstance(value, (list, tuple)):
            left += value
    return False
