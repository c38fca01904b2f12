"""A read-only view of a `.mar` file."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

from marsmith.errors import ArchiveError
from marsmith.manifest import MANIFEST_FILE, Manifest, parse_manifest
from marsmith.samples import SAMPLES_FILE, Sample, parse_samples


class Archive:
    """What a built archive holds. Opening it raises ArchiveError unless it is one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise ArchiveError(
                f"there is no archive {path}", f"build it: marsmith build {path.stem}"
            )
        if not os.access(path, os.R_OK):
            raise ArchiveError(f"{path} may not be read", "mend its permissions")
        if not zipfile.is_zipfile(path):
            raise ArchiveError(
                f"{path} is damaged or not an archive",
                f"build it again: marsmith build {path.stem}",
            )

    @property
    def name(self) -> str:
        """The name under which the model store offers it."""
        return self.path.name.removesuffix(".mar")

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of its entries."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                return frozenset(archive.namelist())
        except (zipfile.BadZipFile, OSError) as error:
            raise self._damaged("its table of contents") from error

    def read(self, name: str) -> bytes:
        """Return one entry's bytes. Raises ArchiveError if it is missing or damaged."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(name)
        except (KeyError, zipfile.BadZipFile, zlib.error, OSError, NotImplementedError) as error:
            raise self._damaged(name) from error

    def _damaged(self, part: str) -> ArchiveError:
        return ArchiveError(
            f"{self.path}: {part} is missing or damaged",
            f"build the archive again: marsmith build {self.name}",
        )

    @cached_property
    def manifest(self) -> Manifest:
        """What the archive says of itself."""
        return parse_manifest(self.read(MANIFEST_FILE))

    @cached_property
    def model_config(self) -> dict[str, Any]:
        """The values of its model-config file; empty if it has none."""
        if self.manifest.config_file is None:
            return {}
        import yaml  # not needed to build or list archives, and slow to import

        try:
            return yaml.safe_load(self.read(self.manifest.config_file)) or {}
        except yaml.YAMLError as error:
            raise ArchiveError(
                f"{self.path}: {self.manifest.config_file} is not YAML", "build the archive again"
            ) from error

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """The requests and answers that prove it; empty if it was built without any."""
        return parse_samples(self.read(SAMPLES_FILE)) if SAMPLES_FILE in self.names else ()

    @cached_property
    def digest(self) -> str:
        """The sha256 of the file, in hex."""
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        return digest.hexdigest()
