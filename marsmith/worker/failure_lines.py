"""Why a load or a request failed, in lines for a person: the log that has them is removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from marsmith.answers.messages import Response
from marsmith.core.errors import WorkerError
from marsmith.torchserve.answer_faults import answer_fault
from marsmith.worker.runtime import Runtime


def load_error(error: WorkerError, run: Runtime, source_name: Callable[[str], str]) -> WorkerError:
    """Return an error of `run.start()` with its whole traceback, in the user's file names."""
    lines = run.traceback(source_name)
    text = "\n".join([error.message, *(f"  {line}" for line in lines)])
    return WorkerError(text, error.hint, code=error.code)


def failure_lines(
    run: Runtime, answers: Sequence[Response], start: int, source_name: Callable[[str], str]
) -> tuple[str, ...]:
    """Return why a batch failed: what cannot be sent, the traceback, or how the worker was lost.

    `start` is where the worker's log of the batch starts. Empty if no answer has a status of 5xx.
    """
    failed = next((answer for answer in answers if answer.status >= 500), None)
    if failed is None:
        return ()
    fault = answer_fault(failed, run.log()[start:])
    if fault:  # its traceback, if any, is of json's own code
        return fault.message, f"  hint: {fault.hint}"
    raised = run.traceback(source_name, 0 if run.lost else start)
    return tuple(raised or ([run.lost.message] if run.lost else ()))
