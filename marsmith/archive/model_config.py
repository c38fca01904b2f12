"""An archive's model-config file, which TorchServe and handlers read, as values."""

from __future__ import annotations

from typing import Any

from marsmith.core.errors import ArchiveError

_MOST_VALUES = 100_000  # YAML's aliases can make billions of values from a few lines
_EXAMPLE = "write lines such as minWorkers: 1, and build the archive again"


def parse_model_config(text: bytes, name: str) -> dict[str, Any]:
    """Return the keys and values of a model-config file, called `name` in errors.

    Raises ArchiveError for a file that TorchServe could not read.
    """
    import yaml  # not needed to build or list archives, and slow to import

    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # no YAML; no date; a bomb
        raise _unreadable(f"{name} is not YAML") from error
    if not _is_bounded(values):
        raise _unreadable(f"{name} holds too many values, or one that contains itself")
    if not isinstance(values, dict):
        problem = "is empty" if values is None else "is not a table of keys and values"
        raise _unreadable(f"{name} {problem}, so TorchServe cannot load the archive")
    return values


def _unreadable(message: str) -> ArchiveError:
    return ArchiveError(message, _EXAMPLE, code="model-config-unreadable")


def _is_bounded(values: Any) -> bool:
    """Return whether there are few enough values to visit each."""
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
