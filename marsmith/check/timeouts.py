"""Compare the measured times with the timeouts after which TorchServe ends a worker."""

from __future__ import annotations

import math
from collections.abc import Iterator

from marsmith.check.subject import Subject
from marsmith.core.findings import Finding, Severity

_DEFAULT = 120  # seconds; TorchServe's own
_SPARE = 2  # times the measured time: servers are busier than a check
_TASKS = {"load": "startupTimeout", "answer": "responseTimeout"}


def check_timeouts(subject: Subject, seconds: dict[str, float]) -> Iterator[Finding]:
    """Yield timeouts that are shorter than what was measured, or hardly longer."""
    for task, key in _TASKS.items():
        limit, measured = _limit(subject, key), seconds.get(task, 0.0)
        if measured * _SPARE < limit:
            continue
        ends = measured >= limit
        message = f"it took {measured:.1f} s to {task}, and {key} is {limit} s"
        message += ": TorchServe ends its worker then" if ends else ", which a busy server may need"
        hint = f"raise it in the serving table: {key} = {max(10, math.ceil(measured * 3))}"
        severity = Severity.ERROR if ends else Severity.WARNING
        yield subject.config_finding(key, message, hint, rule="serving-timeout", severity=severity)


def _limit(subject: Subject, key: str) -> int:
    """Return a timeout in seconds: the archive's, else the server's, else TorchServe's."""
    given = subject.archive.model_config.get(key)
    if isinstance(given, int) and given > 0:
        return given
    config = subject.project.config if subject.project else {}
    default = {"startupTimeout": "default_startup_timeout"}.get(key, "default_response_timeout")
    text = config.get(default, "").strip()
    return int(text) if text.isdecimal() and int(text) > 0 else _DEFAULT
