"""Lines of TorchServe's logs as data, in the text and JSON formats of log_config.py; no IO.

As text, a line is `TIME THREAD LEVEL LOGGER MESSAGE` in the front end's log and
`TIME THREAD MESSAGE` in the workers' log. As JSON, it is an object with these fields.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_TIME = r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[,.]\d{3})"
_STREAM = re.compile(r"W-(?P<worker>\d+)-(?P<model>.+)_(?P<version>[^_]*?)(?P<std>-std(out|err))?$")
_WORKERS = re.compile(rf"{_TIME} (?P<thread>W-\d+-.+?-std(?:out|err))(?: |$)(?P<message>.*)")
_LEVELS = "TRACE|DEBUG|INFO|WARN|ERROR|FATAL"
_SERVER = re.compile(
    rf"{_TIME} (?P<thread>.+?) (?P<level>{_LEVELS}) (?P<logger>\S+) ?(?P<message>.*)$"
)


@dataclass(frozen=True)
class Stream:
    """The worker that a line comes from or is about."""

    worker: str  # its id in the management API
    model: str
    version: str


@dataclass(frozen=True)
class Record:
    """One line of a log."""

    time: str  # local, `2026-11-21T13:34:34.480`; empty if unknown
    thread: str
    message: str
    level: str | None = None  # only for the front end's lines
    logger: str | None = None
    exception: str = ""  # with Java's stack trace

    @property
    def printed(self) -> bool:
        """Whether a worker printed it, in contrast to what the front end logs about a worker."""
        return self.thread.endswith(("-stdout", "-stderr")) and self.level is None

    @property
    def stream(self) -> Stream | None:
        """The worker that it is about; None if it is about none."""
        match = _STREAM.match(self.thread)
        return Stream(match["worker"], match["model"], match["version"]) if match else None

    def text(self) -> str:
        """Return it in the log's text format."""
        time = self.time.replace(".", ",")
        words = [time, self.thread, self.level or "", self.logger or "", self.message]
        lines = " ".join(word for word in words[:-1] if word) + " " + self.message
        return lines + (f"\n{self.exception}" if self.exception else "")


def parse_line(line: str) -> Record | None:
    """Read one line; None for one that continues the line before, as in Java's stack traces."""
    if line.startswith("{"):
        return _from_json(line)
    match = _WORKERS.match(line) or _SERVER.match(line)
    if match is None:
        return None
    found = match.groupdict()
    time = found.pop("time").replace(",", ".")
    return Record(time=time, **found)


def as_text(log: str) -> str:
    """Convert a log to the text format, if it is JSON."""
    if not log.startswith("{"):
        return log
    records = ((line, _from_json(line)) for line in log.splitlines())
    return "".join(f"{record.text() if record else line}\n" for line, record in records)


def _from_json(line: str) -> Record | None:
    try:
        found = json.loads(line)
        thread, message = str(found["thread"]), str(found["message"])
        time = str(found["time"])[:23]  # without the time zone, which is the same for all
    except (ValueError, KeyError, TypeError):
        return None
    if thread.endswith(("-stdout", "-stderr")):
        return Record(time, thread, message)
    exception = str(found.get("exception", "")).strip()
    return Record(time, thread, message, found.get("level"), found.get("logger"), exception)
