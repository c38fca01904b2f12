"""The routes file of a server: read again whenever it changes."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from pathlib import Path

from marsmith.routing import (
    REPORTS_FILE,
    ROUTES_FILE,
    Outcome,
    Route,
    format_report,
    parse_routes,
    routed,
)

_COMPARED = 0.25  # of the requests on trial: each of them costs two


class Routes:
    """Says which version a request goes to. It can be asked from several threads at once."""

    def __init__(self, folder: Path | None) -> None:
        """`folder` is the server's own; None: no version is ever on trial."""
        self._folder = folder
        self._read: tuple[tuple[int, int] | None, dict[str, Route]] = (None, {})

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
        return routed(self._read[1], model, random.random())  # noqa: S311 (no secret)

    @staticmethod
    def compares() -> bool:
        """Say whether a request on trial is to be asked of the version before as well."""
        return random.random() < _COMPARED  # noqa: S311 (no secret)

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
