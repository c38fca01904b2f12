"""Find faults of a handler in an answer that failed, as opposed to faults of the request."""

from __future__ import annotations

import re
from typing import NamedTuple

from marsmith.answers.messages import Response
from marsmith.check.subject import Subject
from marsmith.core.findings import Finding
from marsmith.worker.runtime import Runtime


class _Fault(NamedTuple):
    rule: str
    message: str
    hint: str


# What a worker answers if it cannot use what a handler returned (ts/service.py,
# ts/protocol/otf_message_handler.py).
_RETURNED = {
    "number of batch response mismatched": _Fault(
        rule="answer-count",
        message="handle() returns another number of answers than it got requests",
        hint="return a list with one answer for each request, in their order",
    ),
    "Invalid model predict output": _Fault(
        rule="answer-type",
        message="handle() does not return a list",
        hint="return a list with one answer for each request",
    ),
    "Unsupported model output data type.": _Fault(
        rule="answer-type",
        message="handle() returns values that cannot be serialised",
        hint="return bytes, text, or JSON values: tensor.tolist()",
    ),
}
# Exceptions that no request can cause.
_BUGS = re.compile(r"(ModuleNotFound|Import|Name|UnboundLocal|Syntax|Indentation)Error: ")


def handler_fault(subject: Subject, run: Runtime, answer: Response) -> Finding | None:
    """Return why a request got no answer, if the handler is at fault."""
    if run.lost:
        message = f"it gives no answer: {run.lost.message}"
        lost = run.lost
        return subject.finding(message, lost.hint, lost.file, lost.line, rule="no-answer")
    if answer.status != 503 or not isinstance(answer.values, dict):
        return None
    found = _RETURNED.get(str(answer.values.get("message")))
    if found is None:
        return None
    place = subject.defined("handle")
    return subject.finding(found.message, found.hint, *place, rule=found.rule)


def logged_fault(subject: Subject, failure: Finding) -> Finding | None:
    """Return the exception of a failed request, if it is a bug that fails all requests."""
    if not _BUGS.match(failure.message):
        return None
    message = f"it gives no answer: {failure.message}"
    return subject.finding(message, failure.hint, failure.file, failure.line, rule="no-answer")
