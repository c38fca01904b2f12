"""Where TorchServe and its workers run: a folder of their own, an environment without surprises."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from marsmith.core.errors import ServerError
from marsmith.core.extras import MissingExtraError
from marsmith.core.installed import require

# Which metrics there are: what config.properties calls metrics_config, if it names no other.
METRICS_CONFIG = Path(__file__).parent / "metrics.yaml"
FOLDER_PREFIX = "marsmith-"  # of each server's and runtime's temporary folder
# A Unix socket's path has room for 107 bytes, of which TorchServe takes "/.ts.sock.65535".
_LONGEST_FOLDER = 90

# These would reach into TorchServe or its workers from the caller's shell: another interpreter's
# modules (the caller's PYTHONPATH comes before the model's folder), other settings, other folders.
_FOREIGN_PREFIXES = ("PYTHON", "TS_", "JDK_JAVA_OPTIONS", "VIRTUAL_ENV")
_FOREIGN = ("TEMP", "TMP", "LOG_LOCATION", "METRICS_LOCATION", "LOCAL_RANK", "RANK", "WORLD_SIZE")

# Names of variables, separated by commas, that are let through all the same.
LET_THROUGH = "MARSMITH_PASS_ENVIRONMENT"
# An archive's code must not see credentials. By name: whole words, since TOKENIZERS_…
# and KEYBOARD_… are settings; what others write in one word; and what leads to keys elsewhere.
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:KEYS?|TOKENS?|PASS|PASSCODE|PW|PAT|O?AUTH|CREDS?|COOKIE|JWT|BEARER|PEM|PRIVATE"
    r"|WEBHOOK)\d*(?:_|$)"
    r"|(?:API|ACCESS|ENCRYPTION|PRIVATE|MASTER|SIGNING|CLIENT|SERVER|SSH|HOST)KEY|CONNECTION_?STRING|TOKENS?\d*$|SECRET|PASSWORD|PASSWD"
    r"|PASSPHRASE|PASSFILE|CREDENTIAL|DSN\d*(?:_|$)|.PWD$(?<!^OLDPWD)"
    r"|^(?:AWS|AZURE|GITHUB|GITLAB|GOOGLE_APPLICATION|SSH|GPG|VAULT|DOCKER)_|^(?:KUBECONFIG|NETRC)$",
    re.IGNORECASE,
)
# `https://user:password@host`, what connection strings, URLs and JSON say of passwords and keys,
# keys in PEM, headers with tokens, and what tokens of well-known services begin with.
_VALUE_WITH_PASSWORD = re.compile(
    r"://[^/\s@:]*:[^/\s@]+@"
    r"|(?:^|[;?&\s])(?:password|passwd|pwd|\w*accesskey|accountkey|api_?key|\w*token|\w*secret)\s*="
    r"|\"\w*(?:password|passwd|secret|token|private_key)\"\s*:"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY|\bauthorization:\s*\w|\bbearer [\w.~+/=-]{16}"
    r"|^(?:gh[oprsu]_|github_pat_|glpat-|xox[abprs]-|sk-|hf_|AKIA)[\w-]{12}|hooks\.slack\.com/services/",
    re.IGNORECASE,
)


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
    passed = {name.strip() for name in environ.get(LET_THROUGH, "").split(",") if name.strip()}
    if missing := sorted(passed - environ.keys()):
        raise ServerError(
            f"{LET_THROUGH} names {missing[0]}, which is not set",
            f"set {missing[0]}, or remove it from {LET_THROUGH}",
            code="unset-variable",
        )
    return {
        name: value
        for name, value in environ.items()
        if name in passed or not (_SECRET_NAME.search(name) or _VALUE_WITH_PASSWORD.search(value))
    }


def clean_environment(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return what a server and its workers may know of the caller's environment.

    Raises ServerError as without_secrets does.
    """
    kept = {
        key: value
        for key, value in without_secrets(environ).items()
        if not key.startswith(_FOREIGN_PREFIXES) and key not in _FOREIGN
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
