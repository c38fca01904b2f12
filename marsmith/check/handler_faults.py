"""What an answer that failed says of the handler, and not of the request."""

from __future__ import annotations

import re

from marsmith.answers.messages import Response
from marsmith.check.subject import Subject
from marsmith.core.findings import Finding
from marsmith.worker.runtime import Runtime

# What the worker logs when it can do nothing with what a handler returned (ts/service.py,
# ts/protocol/otf_message_handler.py), by the status message that the requests get.
_RETURNED = {
    "number of batch response mismatched": (
        "answer-count",
        "handle returns another number of answers than it got requests",
        "return a list with one answer per request, in their order",
    ),
    "Invalid model predict output": (
        "answer-type",
        "handle returns something else than a list",
        "return a list with one answer per request",
    ),
    "Unsupported model output data type.": (
        "answer-type",
        "handle returns values that do not serialise",
        "return bytes, text, or what JSON can hold: tensor.tolist()",
    ),
}
# Exceptions that no request is the cause of.
_BUGS = re.compile(r"(ModuleNotFound|Import|Name|UnboundLocal|Syntax|Indentation)Error: ")


def spoiled(subject: Subject, run: Runtime, answer: Response) -> Finding | None:
    """Return why a request could not be answered, if that was none of its own doing."""
    if run.lost:
        message = f"it gives no answer: {run.lost.message}"
        return subject.finding("no-answer", message, run.lost.hint, run.lost.file, run.lost.line)
    if answer.status != 503 or not isinstance(answer.values, dict):
        return None
    found = _RETURNED.get(str(answer.values.get("message")))
    return subject.finding(*found, *subject.defined("handle")) if found else None


def failing(subject: Subject, failure: Finding) -> Finding | None:
    """Return what the worker logged of a failed answer, if it says that no request is answered."""
    if not _BUGS.match(failure.message):
        return None
    message = f"it gives no answer: {failure.message}"
    return subject.finding("no-answer", message, failure.hint, failure.file, failure.line)
