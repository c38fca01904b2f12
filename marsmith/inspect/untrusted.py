"""Parts of an archive that somebody else made: read, and not believed.

Manifests of every age are taken, also those that TorchServe itself would refuse.
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

_LARGEST = 1 << 28  # bytes of a file that is read at once
_DEEPEST = 20  # values within values
_MOST = 100_000  # values that are shown or compared


def read_part(archive: Archive, name: str) -> bytes:
    """Return one file. Raises ArchiveError; a link is not followed, out of an unpacked archive."""
    if (size := _size(archive, name)) > _LARGEST:
        raise ArchiveError(f"{name} is too large to look at: {size} bytes", "unpack the archive")
    return archive.read(name)


@contextmanager
def on_disk(archive: Archive, name: str) -> Iterator[Path]:
    """Give one file as a path; of a packed archive, in a temporary folder. Raises ArchiveError."""
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
    """Return the size of a file that is one. Raises ArchiveError."""
    found = [entry for entry in archive.entries if entry.name == name]
    if not found:
        raise ArchiveError(f"{name} is not in the archive", "make the archive again")
    if any(entry.is_link for entry in found):
        raise ArchiveError(f"{name} is a link", "do not use this archive; make it anew")
    return max(entry.size for entry in found)


def manifest_values(archive: Archive) -> dict[str, Any]:
    """Return all that the manifest says. Raises ArchiveError where there is none."""
    hint = "name an archive; files of weights are shown by: marsmith weights inspect FILE"
    if MANIFEST_FILE not in archive.names:
        raise ArchiveError(f"{archive.path} is no model archive: it lacks {MANIFEST_FILE}", hint)
    try:
        values = json.loads(read_part(archive, MANIFEST_FILE))
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{archive.path}: {MANIFEST_FILE} is no JSON", hint) from error
    if not isinstance(values, dict):
        raise ArchiveError(f"{archive.path}: {MANIFEST_FILE} holds no object", hint)
    plain: dict[str, Any] = _plain(values)
    return plain


def model_values(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return what a manifest says of its model; empty if it says nothing."""
    values = manifest.get("model")
    return values if isinstance(values, dict) else {}


def config_values(archive: Archive, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the values of the model-config file. Raises ArchiveError where it cannot be read."""
    name = model_values(manifest).get("configFile")
    if not name:
        return {}
    plain: dict[str, Any] = _plain(parse_model_config(read_part(archive, str(name)), str(name)))
    return plain


def weights_files(archive: Archive, manifest: dict[str, Any]) -> list[str]:
    """Return the file that the manifest names as weights, and others that look like some."""
    named = model_values(manifest).get("serializedFile")
    others = [
        name
        for name in dict.fromkeys(entry.name for entry in archive.entries)
        if name.endswith(ENDINGS) and not name.startswith(f"{SAMPLES_FOLDER}/")
    ]
    return list(dict.fromkeys([*([str(named)] if named else []), *others]))


def _plain(value: Any, budget: Iterator[int] | None = None, depth: int = 0) -> Any:
    """Return a value as JSON has it: YAML knows dates, keys of any type, and loops."""
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
