"""Why an archive's model cannot be loaded: the exception, and what it says of the weights."""

from __future__ import annotations

import re

from marsmith.check.state_dict_differences import differences_in
from marsmith.check.subject import Subject
from marsmith.core.errors import WorkerError
from marsmith.core.findings import Finding
from marsmith.worker.runtime import Runtime

# What libraries say when they got no connection; each has words of its own.
_OFFLINE = re.compile(r"network|connect|resolve|resolution|download|offline|urlopen|hugging", re.I)


def explain_load(subject: Subject, error: WorkerError, run: Runtime) -> Finding:
    """Return the one finding that names the true cause."""
    failure = run.failed or Finding(error.message, error.hint)
    if run.refused and _is_of_network(failure.message, run.refused):
        where = ", ".join(dict.fromkeys(run.refused))
        message = f"it wants to download when it is loaded: {where}"
        hint = "build the model without pretrained weights, and ship what it needs in the archive"
        return subject.finding("download", message, hint, failure.file, failure.line)
    if "loading state_dict" in failure.message and (found := differences_in(failure.message)):
        message = f"the weights do not fit the model: {found.short}"
        file = subject.manifest.serialized_file or failure.file
        return subject.finding("weights-keys", message, found.cause, file)
    message = f"it cannot be loaded: {failure.message}"
    return subject.finding("load", message, error.hint, failure.file, failure.line)


def _is_of_network(message: str, refused: list[str]) -> bool:
    return bool(_OFFLINE.search(message)) or any(one in message for one in refused)
