"""Find faults of a handler in an answer that failed, as opposed to faults of the request."""

from __future__ import annotations

from marsmith.answers.messages import Response
from marsmith.check.subject import Subject
from marsmith.core.findings import Finding
from marsmith.torchserve.answer_faults import answer_fault
from marsmith.worker.runtime import Runtime

# The methods that a handler's answers come from; the last ones are BaseHandler's.
_ANSWERING = ("handle", "postprocess", "inference")


def handler_fault(
    subject: Subject, run: Runtime, answer: Response, start: int = 0
) -> Finding | None:
    """Return why a request got no answer, if the handler is at fault whatever the request is.

    `start` is where the worker's log of this request starts.
    """
    if run.lost:
        message, lost = f"it gives no answer: {run.lost.message}", run.lost
        place = (lost.file, lost.line) if lost.file else (None, None)
        return subject.finding(message, lost.hint, *place, rule="no-answer")
    found = answer_fault(answer, run.log()[start:], run.notes().returned)
    if found is None:
        return None
    return subject.finding(found.message, found.hint, *answering(subject), rule=found.rule)


def failure_of(run: Runtime, answer: Response, start: int) -> Finding:
    """Return why an answer has a status of 5xx: an exception, or the handler's own words."""
    found = run.failure(start)
    if found.rule != "worker-ended":
        return found
    message = f"the handler answers with status {answer.status}: {answer.complaint}"
    return Finding(message, "look for set_response_status in it", rule="no-answer")


def answering(subject: Subject) -> tuple[str, int] | tuple[None, None]:
    """Return file and line of the method that answers, as far as the archive defines it."""
    for function in _ANSWERING:
        place = subject.defined(function)
        if place[0] is not None:
            return place
    return None, None
