"""Read a model archive: a zip, a tar or an unpacked folder."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from marsmith.answers.messages import Request
from marsmith.answers.samples import SAMPLES_FILE, Sample, parse_samples
from marsmith.archive.containers import Entry, open_container
from marsmith.archive.manifest import MANIFEST_FILE, Manifest, parse_manifest
from marsmith.archive.model_config import parse_model_config
from marsmith.core.errors import ArchiveError

_LARGEST_TEXT = 512 << 10  # bytes of a manifest, a model-config, an index of samples

WORKFLOW_HINT = "name the archives of its models; what joins them can be a handler, or a client"
_WORKFLOW = "WAR-INF/MANIFEST.json"  # torch-workflow-archiver writes it


class Archive:
    """A read-only view of a `.mar`, a `.tar.gz` or an unpacked archive.

    Opening it raises ArchiveError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            hint = f"build it: marsmith build {self.name}"
            raise ArchiveError(f"there is no archive {self.shown}", hint, code="archive-missing")
        if not os.access(path, os.R_OK):
            hint = f"allow it: chmod u+r {self.shown}"
            raise ArchiveError(f"you may not read {self.shown}", hint, code="archive-unreadable")
        self._container = open_container(path, self.shown)
        if self._is_workflow():
            raise ArchiveError(
                f"{self.shown} is an archive of a workflow, and not of a model",
                WORKFLOW_HINT,
                code="workflow-archive",
            )

    def _is_workflow(self) -> bool:
        with suppress(ArchiveError):  # a damaged one is told when its files are read
            return _WORKFLOW in self.names
        return False

    @property
    def name(self) -> str:
        """Its name in the model store."""
        return re.sub(r"\.(mar|tar\.gz|tgz)$", "", self.path.name or self.path.resolve().name)

    @property
    def shown(self) -> Path:
        """The path that messages name."""
        return self.path

    @property
    def entries(self) -> list[Entry]:
        """Its files in their order."""
        return self._container.entries

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of its files."""
        return frozenset(entry.name for entry in self.entries)

    def entry_of(self, name: str) -> str:
        """Return the entry behind a name in the file: a tar has its files in a folder."""
        return name if name in self.names else name.partition("/")[2]

    def read(self, name: str, size: int = -1) -> bytes:
        """Return one file's bytes, or the first `size` of them. Raises ArchiveError."""
        found = bytearray()
        for piece in self._container.pieces(name):
            found += piece
            if 0 <= size <= len(found):
                return bytes(found[:size])
        return bytes(found)

    def copy(self, name: str, target: Path) -> None:
        """Write one file to a path, in pieces. Raises ArchiveError."""
        self._container.copy(name, target)

    def unpack(self, folder: Path) -> None:
        """Write all files into a folder. Raises ArchiveError."""
        self._container.unpack(folder)

    @cached_property
    def manifest(self) -> Manifest:
        """Its manifest. Raises ArchiveError."""
        return parse_manifest(self.read_text(MANIFEST_FILE, "manifest-unreadable"), self.name)

    @cached_property
    def model_config(self) -> dict[str, Any]:
        """The values of its model-config file; empty if it has none. Raises ArchiveError."""
        name = self.manifest.config_file
        if name is None:
            return {}
        text = self.read_text(name, "model-config-unreadable")
        return parse_model_config(text, f"{self.shown}: {name}")

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """Its requests with expected answers; empty if it was built without samples."""
        if SAMPLES_FILE not in self.names:
            return ()
        return parse_samples(self.read_text(SAMPLES_FILE, "samples-unreadable"), self.name)

    def read_text(self, name: str, code: str) -> bytes:
        """Return a file to be parsed. Raises ArchiveError, with `code` if it is too large."""
        text = self.read(name, _LARGEST_TEXT + 1)
        if len(text) > _LARGEST_TEXT:
            hint = f"shorten it, and build the archive again: marsmith build {self.name}"
            message = f"{self.shown}: {name} is larger than {_LARGEST_TEXT >> 10} KiB"
            raise ArchiveError(message, hint, code=code)
        return text

    def request_of(self, sample: Sample) -> Request:
        """Return the request of one of its samples. Raises ArchiveError."""
        return sample.with_body(self.read(sample.request))

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the file in hexadecimal; of a folder, that of its names and files."""
        return self._container.digest
