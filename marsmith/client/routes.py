"""The routes file of a server: read again whenever it changes, and followed."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from marsmith.answers.messages import Response
from marsmith.answers.samples import difference
from marsmith.client.canary_routes import (
    REPORTS_FILE,
    ROUTES_FILE,
    Outcome,
    Route,
    format_report,
    parse_routes,
    routed,
)
from marsmith.client.retries import Deadline, Retries
from marsmith.core.errors import ClientError

# Asks a version, None being the default one, once and for its answer, by a deadline.
Ask = Callable[[str | None, Deadline], Response]

_COMPARED = 0.25  # of the requests on trial: each of them costs two


def routes_of(folder: Path | str | None, key_file: Path | str | None, retries: Retries) -> Routes:
    """Return those of a server, known by its folder or by its key file.

    Who never asks twice takes no part: in a trial some requests are asked of two versions.
    """
    place = folder or (Path(key_file).parent if key_file else None)
    return Routes(Path(place) if place and retries.attempts > 1 else None)


class Routes:
    """Says which version a request goes to. It can be asked from several threads at once."""

    def __init__(self, folder: Path | None) -> None:
        """`folder` is the server's own; None: no version is ever on trial."""
        self._folder = folder
        self._read: tuple[tuple[int, int] | None, dict[str, Route]] = (None, {})

    def answered(self, model: str, version: str | None, ask: Ask, deadline: Deadline) -> Response:
        """Ask the version that is named; without one that on trial for its share, else the default.

        What the one on trial fails on, the default one answers; a part of what it answers is
        asked of both, to compare. Raises ClientError as `ask` of the default one does.
        """
        trial = self.trial(model) if version is None else None
        if trial is None:
            return ask(version, deadline)
        tried = None
        with suppress(ClientError):
            tried = ask(trial.version, deadline.half())
        if tried is None:
            self.report(model, trial.version, "failed")
            return ask(None, deadline)
        if not tried.ok:
            usual = ask(None, deadline)
            if usual.ok:  # else it is the request that is wrong
                self.report(model, trial.version, "failed")
            return usual
        if random.random() < _COMPARED:  # noqa: S311 (no secret)
            with suppress(ClientError):
                usual = ask(None, deadline)
                agree = usual.ok and not difference(
                    usual.body, tried.body, trial.tolerance, trial.largest
                )
                self.report(model, trial.version, "alike" if agree else "other")
        return tried

    def trial(self, model: str) -> Route | None:
        """Return the version on trial if this request is one of its share."""
        if self._folder is None:
            return None
        path = self._folder / ROUTES_FILE
        try:
            seen = path.stat()
            if self._read[0] != (seen.st_ino, seen.st_mtime_ns):
                routes = parse_routes(path.read_text(encoding="utf-8"))
                self._read = (seen.st_ino, seen.st_mtime_ns), routes
        except OSError:  # as a rule there is none
            return None
        return routed(self._read[1], model, random.random(), time.time())  # noqa: S311 (no secret)

    def report(self, model: str, version: str, outcome: Outcome) -> None:
        """Tell whoever runs the trial what came of a request."""
        if self._folder is None:
            return
        # The request is answered all the same.
        with suppress(OSError):
            flags = os.O_WRONLY | os.O_APPEND  # made by the trial; none is under way without it
            handle = os.open(self._folder / REPORTS_FILE, flags)
            try:
                os.write(handle, format_report(model, version, outcome))
            finally:
                os.close(handle)
