"""Where TorchServe and its workers run: a folder of their own, an environment without surprises."""

from __future__ import annotations

import importlib.util
import os
import secrets
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from marsmith.core.errors import ServerError
from marsmith.core.extras import MissingExtraError
from marsmith.core.installed import require
from marsmith.torchserve.withheld import LET_THROUGH, is_foreign, let_through, looks_secret

# Which metrics there are: what config.properties calls metrics_config, if it names no other.
METRICS_CONFIG = Path(__file__).parent / "metrics.yaml"
FOLDER_PREFIX = "marsmith-"  # of each server's and runtime's temporary folder
# A Unix socket's path has room for 107 bytes, of which TorchServe takes "/.ts.sock.65535".
_LONGEST_FOLDER = 90


def temporary_folder() -> Path:
    """Make a new folder whose path leaves room for TorchServe's sockets. Raises ServerError."""
    folder = new_folder_path()
    folder.mkdir(0o700)
    return folder


def new_folder_path() -> Path:
    """Return where to make such a folder. Raises ServerError."""
    folder = Path(tempfile.gettempdir()).absolute() / f"{FOLDER_PREFIX}{secrets.token_hex(4)}"
    if len(str(folder)) > _LONGEST_FOLDER:
        raise ServerError(
            f"the temporary folder's path is too long for sockets: {folder.parent}",
            "set TMPDIR to a shorter one, such as /tmp",
            code="long-temporary-folder",
        )
    return folder


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Leave out variables that look secret: by their name, or because they hold a password.

    Those that MARSMITH_PASS_ENVIRONMENT names stay. Raises ServerError if it names one that is not
    set, because the name is then probably misspelt.
    """
    passed = let_through(environ)
    if missing := sorted(passed - environ.keys()):
        raise ServerError(
            f"{LET_THROUGH} names {missing[0]}, which is not set",
            f"set {missing[0]}, or remove it from {LET_THROUGH}",
            code="unset-variable",
        )
    return {
        name: value
        for name, value in environ.items()
        if name in passed or not looks_secret(name, value)
    }


def clean_environment(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return what a server and its workers may know of the caller's environment.

    Raises ServerError as without_secrets does.
    """
    kept = {
        key: value
        for key, value in without_secrets(environ).items()
        if key in let_through(environ) or not is_foreign(key)
    }
    # Archives with runtime "python3" take the interpreter that PATH names: it must be ours.
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    return kept | {"PATH": path, "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def torchserve_home() -> Path:
    """Return the folder that holds the `ts` package, found without importing it.

    Raises MissingExtraError.
    """
    require("TorchServe", "torchserve", "ts", "torch")
    spec = importlib.util.find_spec("ts")
    if spec is None or not spec.submodule_search_locations:  # another module of that name
        raise MissingExtraError("TorchServe", "torchserve", "torchserve")
    return Path(next(iter(spec.submodule_search_locations))).parent
