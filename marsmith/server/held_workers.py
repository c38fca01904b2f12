"""Stop workers for a moment (SIGSTOP), with a note of them, so that none stays stopped for good.

Whoever stopped them may be killed before they continue. Then the next change to the server lets
them continue, or `marsmith serve` at its next look. The note is in the server's own folder, where
nobody else can write.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from marsmith.core.errors import ServerError
from marsmith.core.processes import identity, lives

_NOTE = "held.json"


@contextmanager
def held(folder: Path, pids: Sequence[int]) -> Iterator[None]:
    """Stop processes, and let them continue at the end. `folder` is the server's own.

    Raises ServerError if they cannot be noted; then none is stopped.
    """
    known = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):  # it just died
            known.append(identity(pid))
    try:
        (folder / _NOTE).write_text(json.dumps(known))
    except OSError as error:
        raise ServerError(
            f"{folder / _NOTE}: {error.strerror}", "make room in it", code="file-not-written"
        ) from error
    try:
        for one in known:
            _signal(one, signal.SIGSTOP)
        yield
    finally:
        continue_held(folder)


def continue_held(folder: Path) -> None:
    """Let the processes continue that are noted as stopped, and forget the note.

    Only for those who have locked the record of the server: then no change is under way.
    """
    note = folder / _NOTE
    try:
        for pid, started in json.loads(note.read_text()):
            _signal((int(pid), float(started)), signal.SIGCONT)
    except (OSError, ValueError, TypeError):
        pass  # there is none, or it was not written to its end, and then none was stopped
    with suppress(OSError):
        note.unlink(missing_ok=True)


def _signal(known: tuple[int, float], number: signal.Signals) -> None:
    if lives(known):
        with suppress(OSError):  # it just died, or is another user's
            os.kill(known[0], number)
