"""Find which static findings explain why an archive cannot be loaded."""

from __future__ import annotations

import re
from dataclasses import replace

from marsmith.core.findings import Finding, Severity
from marsmith.torchserve.tracebacks import missing_module

_IMPORTS = ("missing-import", "not-installed")


def causes_of(failed: Finding, findings: list[Finding]) -> list[Finding]:
    """Return the findings that explain a failed load better than its exception."""
    if failed.rule == "download":
        return [one for one in findings if one.rule == "download"]
    missing = missing_module(failed.message)
    if missing:  # the worker stops at the first missing import; users want to see all
        imports = [one for one in findings if one.rule in _IMPORTS]
        named = re.compile(rf"imports? {re.escape(missing.partition('.')[0])}\b")
        return imports if any(named.search(one.message) for one in imports) else []
    return [one for one in findings if _is_cause(one, failed)]


def _is_cause(finding: Finding, failed: Finding) -> bool:
    if finding.rule == "shadows-library":
        hidden = finding.message.split("'")[1]
        return hidden in failed.message or finding.file == failed.file
    presumed = finding.presumed and finding.rule not in (*_IMPORTS, "download")
    return presumed or finding.rule == "weights-training-state"


def as_cause(finding: Finding, failed: Finding) -> Finding:
    """Return a cause as an error, except a declared import, which a server may install."""
    if failed.rule == "download":
        wanted = failed.message.partition(": ")[2]
        return replace(finding, message=f"{finding.message} ({wanted})")
    if finding.rule == "not-installed":
        return finding
    return replace(finding, severity=Severity.ERROR)
