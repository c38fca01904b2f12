"""Steps that can be stopped between two of them, and undone if one of them fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, TypeVar

from marsmith.core.errors import MarsmithError, RolloutError
from marsmith.core.findings import Finding, Severity
from marsmith.core.interrupts import Stop
from marsmith.core.processes import end_own

_PAUSE = 0.05  # seconds between two looks at a call that is under way

_Result = TypeVar("_Result")
Tell = Callable[[str | Finding], None]  # gets the name of a step, or a warning


@dataclass
class Transaction:
    """The steps of one change, and how to undo them. `tell` gets each step's name and warning."""

    stop: Stop
    tell: Tell
    committed: Callable[[], None] = lambda: None
    now: str = field(default="start", init=False)  # the step that is under way
    _undo: list[Callable[[], object]] = field(default_factory=list, init=False)
    _undoing: bool = field(default=False, init=False)

    def step(self, words: str) -> None:
        """Begin a step. Raises RolloutError if the user wants to stop."""
        self.require_going()
        self.now = words
        self.tell(words)

    def warn(self, message: str, hint: str, *, rule: str) -> None:
        """Tell what does not stop the change, and what to do about it."""
        self.tell(Finding(message, hint, severity=Severity.WARNING, rule=rule))

    def require_going(self) -> None:
        """Raise RolloutError if the user wants to stop; undoing always completes."""
        if self.stop.requested and not self._undoing:
            raise RolloutError("it was told to stop", "run it again later", code="stopped")

    def on_failure(self, call: Callable[[], object]) -> None:
        """Have `call` undo what was done, if anything fails from now on; the last one first."""
        self._undo.append(call)

    def commit(self) -> None:
        """From now on nothing is undone any more."""
        self._undo.clear()
        self.committed()

    def waiting_for(self, call: Callable[[], _Result]) -> _Result:
        """Return what `call` returns. If the user wants to stop, end the processes it started."""
        pool = ThreadPoolExecutor(max_workers=1)
        try:
            answer = pool.submit(call)
            while not answer.done():
                if self.stop.requested and not self._undoing:
                    # It may still start one, and Python waits for the call before it exits.
                    Thread(target=_end_processes, args=(answer,), daemon=True).start()
                    self.require_going()
                time.sleep(_PAUSE)
            return answer.result()
        finally:
            pool.shutdown(wait=False)

    def begin_undo(self) -> None:
        """From now on no request to stop is followed: it would leave half of the change."""
        self._undoing = True
        if self._undo:
            self.tell("restoring what was served before")

    def undo(self) -> None:
        """Undo what was done, the last step first; go on if one of them fails."""
        while self._undo:
            with suppress(MarsmithError, OSError):
                self._undo.pop()()


def _end_processes(answer: Future[Any]) -> None:
    """End the processes that a call starts, until it returns."""
    while not answer.done():
        end_own()
        time.sleep(_PAUSE)
