"""`MAR-INF/MANIFEST.json` as data; no IO.

The format is that of model_archiver/manifest_components (torch-model-archiver 0.12.0).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from marsmith.core.errors import ArchiveError

MANIFEST_FILE = "MAR-INF/MANIFEST.json"


@dataclass(frozen=True)
class Manifest:
    """The values of a manifest. Files are named as inside the archive."""

    model_name: str
    model_version: str | None
    handler: str
    model_file: str | None = None
    serialized_file: str | None = None
    requirements_file: str | None = None
    config_file: str | None = None
    envelope: str | None = None  # of old archives: how requests and answers are wrapped
    runtime: str = "python"


def is_version(text: str) -> bool:
    """Return whether a model version works in the management API's URLs, which reserve `all`."""
    return (
        text != "all"
        and re.fullmatch(r"[\w.+~-]+", text, re.ASCII) is not None
        and bool(text.strip("."))
    )


def parse_manifest(text: str | bytes, archive: str = "NAME") -> Manifest:
    """Read a manifest's JSON. Raises ArchiveError if it cannot be read.

    The error tells how to build the archive of that name.
    """
    try:
        values = _object(json.loads(text), "it")
        model = _object(_required(values, "model"), "'model'")
        return Manifest(
            model_name=_text(_required(model, "modelName")),
            model_version=None if model.get("modelVersion") is None else str(model["modelVersion"]),
            handler=_text(_required(model, "handler")),
            model_file=_file(model, "modelFile"),
            serialized_file=_file(model, "serializedFile"),
            requirements_file=_file(model, "requirementsFile"),
            config_file=_file(model, "configFile"),
            envelope=_file(model, "envelope"),
            runtime=str(values.get("runtime", "python")),
        )
    except RecursionError as error:
        raise _unreadable("it is nested too deeply", archive) from error
    except UnicodeDecodeError as error:
        raise _unreadable("it is not UTF-8", archive) from error
    except json.JSONDecodeError as error:
        why = f"line {error.lineno} is not JSON: {error.msg}"
        raise _unreadable(why, archive) from error
    except ValueError as error:
        raise _unreadable(str(error), archive) from error


def _unreadable(why: str, archive: str) -> ArchiveError:
    hint = f"build the archive again: marsmith build {archive}"
    message = f"{MANIFEST_FILE} cannot be read: {why}"
    return ArchiveError(message, hint, code="manifest-unreadable")


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is not an object with keys and values")
    return value


def _required(values: dict[str, Any], key: str) -> Any:
    if values.get(key) is None:
        raise ValueError(f"it has no {key!r}")
    return values[key]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.80} is not a name")
    return value


def _file(model: dict[str, Any], key: str) -> str | None:
    """Return an optional name; TorchServe too treats an empty one as missing."""
    return _text(model[key]) or None if model.get(key) is not None else None


def normalised_manifest(text: str | bytes, created_on: str) -> bytes:
    """Return torch-model-archiver's manifest with another date and with sorted keys.

    `created_on` has TorchServe's form, `DD/MM/YYYY hh:mm:ss`. TorchServe requires the key
    (ModelArchive.java, validate).
    """
    values = json.loads(text)
    values["createdOn"] = created_on
    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=True).encode() + b"\n"
