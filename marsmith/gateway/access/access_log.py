"""The access log: one line of JSON for each request, without bodies, secrets and query strings."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from pathlib import Path

from marsmith.core.private_files import open_private
from marsmith.gateway.access.facts import Facts

_PAUSE = 0.5  # seconds between two writes
_LARGEST = 64 << 20  # bytes of a file
_KEPT = 3  # older files beside it
_MOST = 20_000  # lines that wait to be written


class AccessLog:
    """Writes lines in groups, so that a request waits for no disk."""

    def __init__(self, path: Path) -> None:
        """Append to `path`; older lines move to `path`.1 and so on."""
        self._path = path
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self.dropped = 0  # lines that could not be written

    def note(self, facts: Facts, seconds: float) -> None:
        """Add a line for an answered request."""
        if len(self._lines) >= _MOST:
            self.dropped += 1
            return
        self._lines.append(line_of(facts, seconds, time.time()))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE, self.flush)

    def flush(self) -> None:
        """Write what waits. A full disk loses lines, not requests."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            with open_private(self._path) as file:
                size = file.tell()
                file.write("".join(lines).encode())
        except OSError:
            self.dropped += len(lines)
            return
        if size > _LARGEST:
            self._rotate()

    def _rotate(self) -> None:
        with suppress(OSError):
            for number in range(_KEPT - 1, 0, -1):
                with suppress(FileNotFoundError):
                    self._numbered(number).replace(self._numbered(number + 1))
            self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def line_of(facts: Facts, seconds: float, now: float) -> str:
    """Return a request's line. json.dumps would take four times as long."""
    key = facts.key.id if facts.key else ""
    return (
        f'{{"time": {now:.3f}, "request_id": "{facts.id}", "client": {_text(facts.client)}, '
        f'"key": "{key}", "method": "{facts.method}", "path": {_text(facts.path)}, '
        f'"face": "{facts.face}", "model": {_text(facts.model)}, '
        f'"version": {_text(facts.version)}, "status": {facts.status}, '
        f'"bytes_in": {facts.body_bytes}, "bytes_out": {facts.sent_bytes}, '
        f'"ms_queued": {facts.queued * 1000:.3f}, "ms_computed": {facts.computed * 1000:.3f}, '
        f'"ms_total": {seconds * 1000:.3f}, "batch": {facts.batch}, '
        f'"trace_id": "{facts.trace.id}", "span_id": "{facts.trace.span}"}}\n'
    )


_text = json.encoder.encode_basestring_ascii
