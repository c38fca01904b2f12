"""Find which static findings explain why an archive cannot be loaded, or answers nothing."""

from __future__ import annotations

import re
from dataclasses import replace

from marsmith.core.findings import Finding, Severity
from marsmith.torchserve.tracebacks import missing_module

_IMPORTS = ("missing-import", "not-installed")
_AT_REQUESTS = ("hides-method", "context-key")  # explain why no request is answered
# What does not explain any failed load: imports and downloads only those of their own kind.
_NOT_OF_LOADS = (*_IMPORTS, "download", "hides-method", "context-key")
# Exceptions of a loader that got a file of another kind than it reads (torch.load, torch.jit.load).
_OF_LOADERS = re.compile(
    r"constants\.pkl|PytorchStreamReader|weights_only|Weights only|UnpicklingError|magic number"
    r"|No model weights could be loaded|do not fit the model"
)
# Exceptions of a value that is not there.
_ABSENT = re.compile(r"KeyError|'NoneType'")
_WITHOUT_VALUE = re.compile(
    rf"{_ABSENT.pattern}|ImportError|ModuleNotFound|FileNotFound|not NoneType"
)


def causes_of(failed: Finding, findings: list[Finding]) -> list[Finding]:
    """Return the findings that explain a failure better than its exception."""
    if failed.rule == "no-answer":
        return [one for one in findings if one.rule in _AT_REQUESTS]
    if failed.rule == "download":
        return [one for one in findings if one.rule == "download"]
    missing = missing_module(failed.message)
    if missing:  # the worker stops at the first missing import; users want to see all
        imports = [one for one in findings if one.rule in _IMPORTS]
        top = missing.partition(".")[0]
        return imports if any(one.about == top for one in imports) else []
    return [one for one in findings if _is_cause(one, failed)]


def _is_cause(finding: Finding, failed: Finding) -> bool:
    if finding.rule == "shadows-library":
        return finding.about in failed.message or finding.file == failed.file
    if finding.rule == "context-key":
        return _ABSENT.search(failed.message) is not None
    if finding.rule == "environment":
        return _is_of_environment(finding, failed)
    if finding.rule in ("weights-kind", "weights-training-state"):
        return _OF_LOADERS.search(failed.message) is not None
    return finding.presumed and finding.rule not in _NOT_OF_LOADS


def _is_of_environment(finding: Finding, failed: Finding) -> bool:
    """Return whether code failed for want of a variable: by its name, or in the file it is in."""
    named = finding.about in failed.message
    return named or (
        finding.file == failed.file and _WITHOUT_VALUE.search(failed.message) is not None
    )


def as_cause(finding: Finding, failed: Finding) -> Finding:
    """Return a cause as an error, except a declared import, which a server may install."""
    if failed.rule == "download":
        return replace(finding, message=f"{finding.message} ({failed.about})")
    if finding.rule == "environment" or finding.rule in _AT_REQUESTS:
        error = replace(finding, message=f"{finding.message}: {failed.about}")
        return replace(error, severity=Severity.ERROR)
    if finding.rule == "not-installed":
        return finding
    return replace(finding, severity=Severity.ERROR)
