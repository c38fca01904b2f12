"""Why a worker was lost: from how it ended, and from what it printed; no IO."""

from __future__ import annotations

import signal

from marsmith.core.findings import Finding
from marsmith.torchserve.load_failure import explain
from marsmith.torchserve.tracebacks import Failure, find_failure, find_stack
from marsmith.worker.sandbox import End, passed


def late(task: str, timeout: float, log: str) -> Finding:
    """Return what is known of a worker that did not do its task in time."""
    stack = find_stack(log.splitlines())
    hint = "find out what it waits for" + (f": {_innermost_first(stack)}" if stack else "")
    hint += "; or give it more time: --timeout SECONDS"
    place = (stack.file, stack.line) if stack else (None, None)
    return Finding(f"it did not {task} within {timeout:g} s", hint, *place, rule="worker-timeout")


def ended(end: End, log: str) -> Finding:
    """Return why a worker ended: a limit, an exception, a signal, or a call of exit()."""
    if end.limit:
        return passed(end.limit)
    lines = log.splitlines()
    failure = find_failure(lines)
    if end.status is None or (end.status >= 0 and failure):
        return explain(failure, None, log)
    message = f"its worker ended {ending(end.status)}, without an error message"
    stack = find_stack(lines) if end.status < 0 else None
    if stack is None:
        return Finding(message, explain(None, None, log).hint, rule="worker-ended")
    hint = f"native code crashed, or ended the process: {_innermost_first(stack)}"
    return Finding(message, hint, stack.file, stack.line, rule="worker-ended")


def ending(status: int) -> str:
    """Return how a process ended, for `it ended …`; a status below 0 is a signal's."""
    if status >= 0:
        return f"with exit status {status}"
    number = -status
    names = {one.value: one.name for one in signal.Signals}
    return f"by {names.get(number, f'signal {number}')}"


def _innermost_first(stack: Failure) -> str:
    return " ← ".join(reversed(stack.frames)) or "outside of Python"
