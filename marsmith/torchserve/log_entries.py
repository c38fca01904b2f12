"""Group the lines of a server's log into entries, such as a whole traceback; no IO."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from marsmith.torchserve.log_records import Record, parse_line
from marsmith.torchserve.worker_lines import CHAINED, CHATTER, TRACEBACK, with_source_names

SourceName = Callable[[str, str], str]  # (archive, entry) → the project's file

_AT_ONCE = 0.5  # seconds between lines that were printed together
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")  # printed before each thread dump


@dataclass
class Entry:
    """One event: a line, or all the lines of a traceback."""

    record: Record  # of its first line
    lines: list[str] = field(default_factory=list)
    phase: Literal["plain", "frames", "exception"] = "plain"

    @property
    def time(self) -> str:
        """The local time of its first line; empty if unknown."""
        return self.record.time

    def concerns(self, model: str, others: Collection[str] = ()) -> bool:
        """Return whether it is from a worker of a model, or names the model.

        `others` are the server's other models.
        """
        if stream := self.record.stream:
            # The log joins name and version with an underscore, and both may contain some.
            whole = f"{stream.model}_{stream.version}"
            names = [one for one in (model, *others) if whole.startswith(f"{one}_")]
            return max(names, key=len, default=None) == model
        return any(re.search(rf"(?<![\w.-]){re.escape(model)}(?![\w-])", x) for x in self.lines)

    def text(self, source_name: SourceName) -> str:
        """Return its lines, with the project's file names in place of temporary files."""
        model = self.record.stream.model if self.record.stream else ""
        return with_source_names(
            "\n".join(self.lines).rstrip(), lambda entry: source_name(model, entry)
        )

    def values(self, source_name: SourceName) -> dict[str, Any]:
        """Return it as JSON values."""
        stream, record = self.record.stream, self.record
        return {
            "time": record.time or None,
            "source": "worker" if record.printed else "server",
            "level": record.level,
            "model": stream.model if stream else None,
            "version": stream.version if stream else None,
            "worker": stream.worker if stream else None,
            "message": self.text(source_name),
        }


class Entries:
    """Groups the lines of one log into entries while they arrive."""

    def __init__(self) -> None:
        self._open: dict[str, Entry] = {}  # open ones by thread, the latest last
        self._dump: Literal["none", "threads", "heap"] = "none"

    def add(self, lines: Iterable[str]) -> Iterator[Entry]:
        """Add lines; yield each entry once its thread has begun another one."""
        for line in lines:
            if not self._is_of_dump(line):
                yield from self._add(line)

    def rest(self) -> list[Entry]:
        """Return the entries that are still open."""
        left, self._open = [one for one in self._open.values() if one.lines], {}
        return left

    def _is_of_dump(self, line: str) -> bool:
        """Return whether a line is of a thread dump by Java, which deploy/draining.py requests."""
        if line.startswith("Full thread dump"):
            self._dump = "threads"
        elif self._dump == "heap" and line.strip() and not line.startswith((" ", "Heap")):
            self._dump = "none"
        elif self._dump == "threads" and line.startswith("JNI global refs"):
            self._dump = "heap"
            return True
        return self._dump != "none" or _MOMENT.fullmatch(line) is not None

    def _add(self, line: str) -> Iterator[Entry]:
        record = parse_line(line)
        if record is None:
            self._go_on(line)
            return
        if record.printed and CHATTER.match(record.message):
            return
        entry = self._open.get(record.thread)
        if entry and record.printed and _goes_on(entry, record):
            entry.lines.append(record.message)
            return
        if entry:
            del self._open[record.thread]
            if entry.lines:
                yield entry
        lines = [record.message] if record.message else []
        lines += record.exception.splitlines()
        # If the front end's message is empty, the following lines are an exception.
        if lines or not record.printed:
            new = Entry(record, lines)
            new.phase = "frames" if record.message == TRACEBACK else "plain"
            self._open[record.thread] = new

    def _go_on(self, line: str) -> None:
        """Add a line without time and thread to the entry before it in the file."""
        if not line.strip():
            return
        if not self._open:
            self._open[""] = Entry(Record("", "", line))
        next(reversed(self._open.values())).lines.append(line)


def _goes_on(entry: Entry, record: Record) -> bool:
    """Return whether a worker's line belongs to the entry before it on the same output."""
    message, phase = record.message, entry.phase
    if message == TRACEBACK:
        # The message of logging.exception comes right before; in a chain, a blank line does.
        entry.phase = "frames"
        return (phase == "plain" and _at_once(entry, record)) or entry.lines[-1] == ""
    if message.startswith((" ", "\t")):
        return phase != "plain" or _at_once(entry, record)
    if message in ("", *CHAINED):
        return phase != "plain"
    entry.phase = "exception" if phase == "frames" else phase
    return phase == "frames"


def _at_once(entry: Entry, record: Record) -> bool:
    """Return whether a line came together with the entry's first: Java times each by itself."""
    begin, now = (datetime.fromisoformat(time) for time in (entry.time, record.time))
    return abs((now - begin).total_seconds()) < _AT_ONCE
