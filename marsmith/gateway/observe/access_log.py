"""The access log: one line of JSON for each request, without bodies, secrets and query strings."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from pathlib import Path

from marsmith.core.private_files import open_private
from marsmith.gateway.observe.facts import Facts

_PAUSE = 0.5  # seconds between two writes
_LARGEST = 64 << 20  # bytes of a file; then it becomes FILE.1, which becomes FILE.2
_MOST = 20_000  # lines that wait to be written
_text = json.encoder.encode_basestring_ascii


class AccessLog:
    """Writes lines in groups, so that a request waits for no disk."""

    def __init__(self, path: Path, largest: int = _LARGEST) -> None:
        """Append to `path`."""
        self._path = path
        self._largest = largest
        self._lines: list[str] = []

    def note(self, facts: Facts, seconds: float) -> None:
        """Add a line for an answered request."""
        if not self._lines:
            asyncio.get_running_loop().call_later(_PAUSE, self.flush)
        if len(self._lines) < _MOST:
            self._lines.append(line_of(facts, seconds, time.time()))

    def flush(self) -> None:
        """Write what waits. A full disk loses lines, not requests."""
        lines, self._lines = self._lines, []
        with suppress(OSError):
            with open_private(self._path) as file:
                file.write("".join(lines).encode())
                full = file.tell() > self._largest
            if full:
                older = self._path.with_name(f"{self._path.name}.1")
                if older.exists():
                    older.replace(self._path.with_name(f"{self._path.name}.2"))
                self._path.replace(older)


def line_of(facts: Facts, seconds: float, now: float) -> str:
    """Return a request's line. json.dumps would take four times as long."""
    return (
        f'{{"time": {now:.3f}, "request_id": "{facts.id}", "client": {_text(facts.client)}, '
        f'"key": "{facts.key.id if facts.key else ""}", "method": "{facts.method}", '
        f'"path": {_text(facts.path)}, "face": "{facts.face}", "model": {_text(facts.model)}, '
        f'"version": {_text(facts.version)}, "status": {facts.status}, '
        f'"bytes_in": {facts.body_bytes}, "bytes_out": {facts.sent_bytes}, '
        f'"ms_queued": {facts.queued * 1000:.3f}, "ms_computed": {facts.computed * 1000:.3f}, '
        f'"ms_total": {seconds * 1000:.3f}, "batch": {facts.batch}, '
        f'"trace_id": "{facts.trace.id}", "span_id": "{facts.trace.span}"}}\n'
    )
