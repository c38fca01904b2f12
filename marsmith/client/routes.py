"""Follows the routes file of a server, which a canary writes."""

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

# Sends a request to a version, None being the default one, and returns its answer by a deadline.
Ask = Callable[[str | None, Deadline], Response]

_COMPARED = 0.25  # of the canary's requests: both versions get them


def routes_of(folder: Path | str | None, key_file: Path | str | None, retries: Retries) -> Routes:
    """Return the routes of a server, known by its folder or by its key file.

    A client without retries takes no part, since a canary sends some requests to two versions.
    """
    place = folder or (Path(key_file).parent if key_file else None)
    return Routes(Path(place) if place and retries.attempts > 1 else None)


class Routes:
    """Chooses the version that gets a request. Several threads can use it at once."""

    def __init__(self, folder: Path | None) -> None:
        """`folder` is the server's own; None: there never is a canary."""
        self._folder = folder
        self._read: tuple[tuple[int, int] | None, dict[str, Route]] = (None, {})

    def answered(self, model: str, version: str | None, ask: Ask, deadline: Deadline) -> Response:
        """Ask the named version; without a name the canary for its share, else the default one.

        If the canary fails, the default version answers. A part of the canary's requests goes to
        both, to compare their answers. Raises ClientError as `ask` of the default version does.
        """
        canary = self.canary(model) if version is None else None
        if canary is None:
            return ask(version, deadline)
        tried = None
        with suppress(ClientError):
            tried = ask(canary.version, deadline.half())
        if tried is None:
            self.report(model, canary.version, "failed")
            return ask(None, deadline)
        if not tried.ok:
            usual = ask(None, deadline)
            if usual.ok:  # else the request itself is wrong
                self.report(model, canary.version, "failed")
            return usual
        if random.random() < _COMPARED:  # noqa: S311 (no secret)
            with suppress(ClientError):
                usual = ask(None, deadline)
                agree = usual.ok and not difference(
                    usual.body, tried.body, canary.tolerance, canary.largest
                )
                self.report(model, canary.version, "alike" if agree else "other")
        return tried

    def canary(self, model: str) -> Route | None:
        """Return the canary if this request belongs to its share."""
        if self._folder is None:
            return None
        path = self._folder / ROUTES_FILE
        try:
            seen = path.stat()
            if self._read[0] != (seen.st_ino, seen.st_mtime_ns):
                routes = parse_routes(path.read_text(encoding="utf-8"))
                self._read = (seen.st_ino, seen.st_mtime_ns), routes
        except OSError:  # usually there is none
            return None
        return routed(self._read[1], model, random.random(), time.time())  # noqa: S311 (no secret)

    def report(self, model: str, version: str, outcome: Outcome) -> None:
        """Report the outcome of a request to the `deploy` that runs the canary."""
        if self._folder is None:
            return
        # The request is answered anyway.
        with suppress(OSError):
            flags = os.O_WRONLY | os.O_APPEND  # without the file there is no canary
            handle = os.open(self._folder / REPORTS_FILE, flags)
            try:
                os.write(handle, format_report(model, version, outcome))
            finally:
                os.close(handle)
