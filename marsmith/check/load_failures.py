"""Explain why an archive's model cannot be loaded."""

from __future__ import annotations

import re
from dataclasses import replace

from marsmith.check.subject import Subject
from marsmith.core.errors import WorkerError
from marsmith.core.findings import Finding
from marsmith.weights.state_dict_differences import differences_in
from marsmith.worker.runtime import Runtime

# Words of libraries' exceptions without a network connection.
_OFFLINE = re.compile(r"network|connect|resolve|resolution|download|offline|urlopen|hugging", re.I)


def explain_load(subject: Subject, error: WorkerError, run: Runtime) -> Finding:
    """Return the finding that names the true cause."""
    failure = run.failed or Finding(error.message, error.hint, rule="load")
    if run.refused and _is_of_network(failure.message, run.refused):
        where = ", ".join(dict.fromkeys(run.refused))
        message = f"it tries to download while it loads: {where}"
        hint = "build the model without pretrained weights, and put what it needs into the archive"
        found = subject.finding(message, hint, failure.file, failure.line, rule="download")
        return replace(found, about=where)
    file = subject.manifest.serialized_file
    if file and (differs := differences_in(failure.about)):
        hint = differs.cause(subject.place(file)).hint
        return subject.finding(failure.message, hint, file, rule="weights-keys")
    message = f"it cannot be loaded: {failure.message}"
    found = subject.finding(message, error.hint, failure.file, failure.line, rule="load")
    return replace(found, about=failure.message)


def _is_of_network(message: str, refused: list[str]) -> bool:
    return bool(_OFFLINE.search(message)) or any(one in message for one in refused)
