"""Read parts of an archive from others, without trusting them.

Manifests of all versions are accepted, also those that TorchServe refuses.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from marsmith.answers.samples import SAMPLES_FOLDER
from marsmith.archive.manifest import MANIFEST_FILE
from marsmith.archive.model_config import parse_model_config
from marsmith.archive.reader import Archive
from marsmith.core.errors import ArchiveError, WeightsError
from marsmith.torchserve.environment import FOLDER_PREFIX
from marsmith.weights.any_format import ENDINGS

_LARGEST = 1 << 28  # bytes of a file that is read into memory
_DEEPEST = 20  # levels of nested values
_MOST = 100_000  # values that are shown or compared


def read_part(archive: Archive, name: str) -> bytes:
    """Return one file. Raises ArchiveError."""
    if (size := _size(archive, name)) > _LARGEST:
        message = f"{name} is too large to be shown: {size:,} bytes"
        hint = "unpack the archive and open the file"
        raise ArchiveError(message, hint, code="entry-too-large")
    return archive.read(name)


@contextmanager
def on_disk(archive: Archive, name: str) -> Iterator[Path]:
    """Yield the path of one file, unpacked into a temporary folder. Raises ArchiveError."""
    _size(archive, name)
    if archive.path.is_dir():
        yield archive.path / name
        return
    with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX) as folder:
        path = Path(folder) / f"weights{PurePosixPath(name).suffix}"
        archive.copy(name, path)
        try:
            yield path
        except WeightsError as error:  # the user does not know the temporary file
            message = error.message.replace(str(path), name)
            raise WeightsError(message, error.hint, code=error.code) from error


def _size(archive: Archive, name: str) -> int:
    """Return the size of a file. Raises ArchiveError."""
    for entry in archive.entries:
        if entry.name == name:
            return entry.size
    hint = "build the archive again"
    raise ArchiveError(f"{name} is not in the archive", hint, code="entry-missing")


def manifest_values(archive: Archive) -> dict[str, Any]:
    """Return the values of the manifest. Raises ArchiveError if there is none."""
    hint = "name an archive; for files of weights: marsmith weights inspect FILE"
    if MANIFEST_FILE not in archive.names:
        message = f"{archive.path} is not a model archive: it has no {MANIFEST_FILE}"
        raise ArchiveError(message, hint, code="manifest-missing")
    try:
        values = json.loads(archive.read_text(MANIFEST_FILE, "manifest-unreadable"))
    except (ValueError, RecursionError) as error:
        message = f"{archive.path}: {MANIFEST_FILE} is not JSON"
        raise ArchiveError(message, hint, code="manifest-unreadable") from error
    if not isinstance(values, dict):
        message = f"{archive.path}: {MANIFEST_FILE} is not an object with keys and values"
        raise ArchiveError(message, hint, code="manifest-unreadable")
    plain: dict[str, Any] = _plain(values)
    return plain


def model_values(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest's values for its model; empty without any."""
    values = manifest.get("model")
    return values if isinstance(values, dict) else {}


def config_values(archive: Archive, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the values of the model-config file. Raises ArchiveError if it cannot be read."""
    name = model_values(manifest).get("configFile")
    if not name:
        return {}
    plain: dict[str, Any] = _plain(parse_model_config(read_part(archive, str(name)), str(name)))
    return plain


def weights_files(archive: Archive, manifest: dict[str, Any]) -> list[str]:
    """Return the file that the manifest names as weights, and others with such endings."""
    named = model_values(manifest).get("serializedFile")
    others = [
        name
        for name in dict.fromkeys(entry.name for entry in archive.entries)
        if name.endswith(ENDINGS) and not name.startswith(f"{SAMPLES_FOLDER}/")
    ]
    return list(dict.fromkeys([*([str(named)] if named else []), *others]))


def _plain(value: Any, budget: Iterator[int] | None = None, depth: int = 0) -> Any:
    """Return a YAML value as a JSON value: without dates, other keys than strings, and cycles."""
    budget = iter(range(_MOST)) if budget is None else budget
    if depth > _DEEPEST or next(budget, None) is None:
        return "…"
    if isinstance(value, dict):
        return {str(key): _plain(one, budget, depth + 1) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one, budget, depth + 1) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value if value is None or isinstance(value, (str, int, float)) else str(value)
