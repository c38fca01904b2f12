"""Which variables of the caller's environment servers and workers do not get; no IO."""

from __future__ import annotations

import re
from collections.abc import Mapping

# These would reach into TorchServe or its workers from the caller's shell: another interpreter's
# modules (the caller's PYTHONPATH comes before the model's folder), other settings, other folders.
_FOREIGN_PREFIXES = ("PYTHON", "TS_", "JDK_JAVA_OPTIONS", "VIRTUAL_ENV")
OF_TORCHRUN = ("LOCAL_RANK", "RANK", "WORLD_SIZE")
_FOREIGN = ("TEMP", "TMP", "LOG_LOCATION", "METRICS_LOCATION", *OF_TORCHRUN)

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


def let_through(environ: Mapping[str, str]) -> set[str]:
    """Return the variables that the user wants to be let through."""
    return {name.strip() for name in environ.get(LET_THROUGH, "").split(",") if name.strip()}


def is_withheld(name: str, environ: Mapping[str, str]) -> bool:
    """Return whether workers do not get a variable, which need not be set here."""
    if name in let_through(environ):
        return False
    return is_foreign(name) or looks_secret(name, environ.get(name, ""))


def looks_secret(name: str, value: str) -> bool:
    """Return whether a variable looks secret: by its name, or because it holds a password."""
    return bool(_SECRET_NAME.search(name) or _VALUE_WITH_PASSWORD.search(value))


def is_foreign(name: str) -> bool:
    """Return whether a variable would reach into TorchServe or its workers."""
    return name.startswith(_FOREIGN_PREFIXES) or name in _FOREIGN


def how_to_pass(name: str, command: str = "marsmith …") -> str:
    """Return the hint that hands a variable to workers, for one that is withheld or not set."""
    if name in OF_TORCHRUN:
        return "torchrun sets it: add torchrun = { nproc-per-node = 1 } to the serving table"
    return f"if the handler needs it, pass it: {name}=VALUE {LET_THROUGH}={name} {command}"
