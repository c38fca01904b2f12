"""Describe an archive without running or unpickling anything in it."""

from __future__ import annotations

import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marsmith.answers.samples import SAMPLES_FOLDER
from marsmith.archive.containers import Entry
from marsmith.archive.reader import Archive
from marsmith.core.errors import ArchiveError, MarsmithError
from marsmith.inspect.describe_body import Body, body_of
from marsmith.inspect.model_layers import Layer, is_parameter, layers_of
from marsmith.inspect.untrusted import (
    config_values,
    manifest_values,
    model_values,
    on_disk,
    read_part,
    weights_files,
)
from marsmith.project.spec_schema import SERVING_KEYS
from marsmith.security.signatures import claimed_key, signature_file
from marsmith.weights.any_format import ModelFile, read_model_file
from marsmith.weights.tensors import Tensor

_HANDLER_CONFIG = "handler_config"


@dataclass(frozen=True)
class Weights:
    """A file of weights; `problem` says why it could not be read."""

    name: str
    size: int | None  # bytes; None if the archive lacks it
    file: ModelFile | None
    problem: str = ""

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name. Their values can no longer be read."""
        return self.file.tensors if self.file else {}

    @property
    def parameters(self) -> int:
        """The number of learnt values; tied tensors count once."""
        learnt = {t.view: t.count for name, t in self.tensors.items() if is_parameter(name, t)}
        return sum(learnt.values())

    @property
    def dtypes(self) -> Counter[str]:
        """How many tensors there are of each type."""
        return Counter(tensor.dtype for tensor in self.tensors.values())

    def layers(self, at_most: int | None = None) -> list[Layer]:
        """Return its modules, merged by prefixes if there are more than `at_most`."""
        return layers_of(self.tensors, at_most)


@dataclass(frozen=True)
class Example:
    """A sample: its request and its expected answer."""

    name: str
    request: Body
    response: Body
    tolerance: float


@dataclass
class Inspection:
    """An archive as data. `problems` maps parts that could not be read to reasons."""

    path: Path
    name: str
    form: str  # zip, tar or folder
    size: int  # bytes, of its file or its files
    digest: str
    manifest: dict[str, Any]
    entries: list[Entry]
    weights: list[Weights]
    signature: Path | None
    signed_by: str | None  # fingerprint of the key that the signature names; not verified
    examples: list[Example] = field(default_factory=list)
    serving: dict[str, Any] = field(default_factory=dict)
    handler_config: dict[str, Any] = field(default_factory=dict)
    requirements: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def model(self) -> dict[str, Any]:
        """The manifest's values for the model."""
        return model_values(self.manifest)


def inspect(archive: Archive) -> Inspection:
    """Read all parts of an archive. Raises ArchiveError if it is not an archive."""
    manifest = manifest_values(archive)
    entries, is_folder = archive.entries, archive.path.is_dir()
    signature = signature_of(archive)
    inspection = Inspection(
        path=archive.path,
        name=archive.name,
        form=_form(archive.path),
        size=sum(one.size for one in entries) if is_folder else archive.path.stat().st_size,
        digest=archive.digest,
        manifest=manifest,
        entries=entries,
        weights=[_weights(archive, name) for name in weights_files(archive, manifest)],
        signature=signature,
        signed_by=claimed_key(signature) if signature else None,
    )
    for part, read in (
        ("config", _read_config),
        ("samples", _read_samples),
        ("requirements", _read_requirements),
    ):
        try:
            read(archive, inspection)
        except ArchiveError as error:
            inspection.problems[part] = error.message
    # Files that the manifest does not name count as weights only if they can be read.
    named = inspection.model.get("serializedFile")
    inspection.weights = [one for one in inspection.weights if one.file or one.name == named]
    return inspection


def signature_of(archive: Archive) -> Path | None:
    """Return the file with the archive's signature, if there is one. It is not verified."""
    path = signature_file(archive.path)
    return path if path.is_file() else None


def _form(path: Path) -> str:
    if path.is_dir():
        return "folder"
    return "zip" if zipfile.is_zipfile(path) else "tar"


def _weights(archive: Archive, name: str) -> Weights:
    size = next((entry.size for entry in archive.entries if entry.name == name), None)
    try:
        with on_disk(archive, name) as path:
            return Weights(name, size, read_model_file(path))
    except MarsmithError as error:
        return Weights(name, size, None, error.message)


def _read_config(archive: Archive, inspection: Inspection) -> None:
    values = config_values(archive, inspection.manifest)
    own = values.pop(_HANDLER_CONFIG, None)
    inspection.serving = {key: one for key, one in values.items() if key in SERVING_KEYS}
    # Keys that TorchServe does not know are for the handler.
    rest = {key: one for key, one in values.items() if key not in SERVING_KEYS}
    inspection.handler_config = rest | (own if isinstance(own, dict) else {})


def _read_samples(archive: Archive, inspection: Inspection) -> None:
    for sample in archive.samples:
        request, response = (read_part(archive, one) for one in (sample.request, sample.response))
        inspection.examples.append(
            Example(
                sample.request.removeprefix(f"{SAMPLES_FOLDER}/"),
                body_of(request),
                body_of(response),
                sample.tolerance,
            )
        )


def _read_requirements(archive: Archive, inspection: Inspection) -> None:
    name = inspection.model.get("requirementsFile")
    if name:
        lines = read_part(archive, str(name)).decode(errors="replace").splitlines()
        kept = [line.strip() for line in lines]
        inspection.requirements = [line for line in kept if line and not line.startswith("#")]
