"""`MAR-INF/MANIFEST.json` as data; no IO.

The format is that of model_archiver/manifest_components (torch-model-archiver 0.12.0).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from marsmith.errors import ArchiveError

MANIFEST_FILE = "MAR-INF/MANIFEST.json"


@dataclass(frozen=True)
class Manifest:
    """What an archive says of itself. Names are names inside the archive."""

    model_name: str
    model_version: str | None
    handler: str
    model_file: str | None = None
    serialized_file: str | None = None
    requirements_file: str | None = None
    config_file: str | None = None
    envelope: str | None = None  # of old archives: a wrapper around requests and answers
    runtime: str = "python"


def parse_manifest(text: str | bytes) -> Manifest:
    """Read a manifest's JSON. Raises ArchiveError when it is none."""
    try:
        values: Any = json.loads(text)
        model = values["model"]
        return Manifest(
            model_name=_text(model["modelName"]),
            model_version=None if model.get("modelVersion") is None else str(model["modelVersion"]),
            handler=_text(model["handler"]),
            model_file=_file(model, "modelFile"),
            serialized_file=_file(model, "serializedFile"),
            requirements_file=_file(model, "requirementsFile"),
            config_file=_file(model, "configFile"),
            envelope=_file(model, "envelope"),
            runtime=str(values.get("runtime", "python")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArchiveError(
            f"{MANIFEST_FILE} cannot be read: {error!r}",
            "build the archive again: marsmith build NAME",
        ) from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80} is no name")
    return value


def _file(model: dict[str, Any], key: str) -> str | None:
    """Return a name that may be left out; an empty one counts as such, as for TorchServe."""
    return _text(model[key]) or None if model.get(key) is not None else None


def normalised_manifest(text: str | bytes, created_on: str) -> bytes:
    """Return torch-model-archiver's manifest with its date replaced and its keys in order.

    `created_on` is in TorchServe's form, `DD/MM/YYYY hh:mm:ss`; the key is required
    (ModelArchive.java, validate).
    """
    values = json.loads(text)
    values["createdOn"] = created_on
    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=True).encode() + b"\n"
