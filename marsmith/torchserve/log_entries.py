"""What a server's logs say, entry by entry: a worker's traceback is one; no IO."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from marsmith.torchserve.load_failure import CHAINED, CHATTER, TRACEBACK
from marsmith.torchserve.log_records import Record, parse_line

SourceName = Callable[[str, str], str]  # (archive, entry) → the project's file

_UNPACKED = re.compile(r"(/[^\s'\"]*)?/models/[0-9a-f]{32}/(?P<entry>[^\s'\"]+)")
_AT_ONCE = 0.5  # seconds
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")  # before each dump
_INSTALLED = re.compile(r"(?<=[\"'\s])/[^\s'\"]*?/(site|dist)-packages/")


@dataclass
class Entry:
    """One event: a line, or all the lines of a traceback."""

    record: Record  # of its first line
    lines: list[str] = field(default_factory=list)
    phase: Literal["plain", "frames", "exception"] = "plain"

    @property
    def time(self) -> str:
        """When its first line was written, by the local clock; empty where that is not known."""
        return self.record.time

    def concerns(self, model: str, others: Collection[str] = ()) -> bool:
        """Whether it is of a model's worker, or names the model; `others` are models beside it."""
        if stream := self.record.stream:
            # Name and version may both hold underscores, and the log joins them by one.
            whole = f"{stream.model}_{stream.version}"
            names = [one for one in (model, *others) if whole.startswith(f"{one}_")]
            return max(names, key=len, default=None) == model
        return any(re.search(rf"(?<![\w.-]){re.escape(model)}(?![\w-])", x) for x in self.lines)

    def text(self, source_name: SourceName) -> str:
        """Return its lines with the project's file names instead of those of temporary folders."""
        stream = self.record.stream

        def named(match: re.Match[str]) -> str:
            return source_name(stream.model, match["entry"]) if stream else match["entry"]

        return _INSTALLED.sub("", _UNPACKED.sub(named, "\n".join(self.lines).rstrip()))

    def values(self, source_name: SourceName) -> dict[str, Any]:
        """Return it for other programs."""
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
    """Puts the lines of one log file together to entries, as they come."""

    def __init__(self) -> None:
        self._open: dict[str, Entry] = {}  # by thread: what may go on; last touched last
        self._dump: Literal["none", "threads", "heap"] = "none"

    def add(self, lines: Iterable[str]) -> Iterator[Entry]:
        """Take lines of the log; give each entry once another one of its thread has begun."""
        for line in lines:
            if not self._is_of_dump(line):
                yield from self._add(line)

    def rest(self) -> list[Entry]:
        """Give the entries that nothing more came of."""
        left, self._open = [one for one in self._open.values() if one.lines], {}
        return left

    def _is_of_dump(self, line: str) -> bool:
        """Tell whether Java prints its threads there, which draining.py asks for and reads."""
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
        # Where the front end's line says nothing, what it says is an exception in the next ones.
        if lines or not record.printed:
            new = Entry(record, lines)
            new.phase = "frames" if record.message == TRACEBACK else "plain"
            self._open[record.thread] = new

    def _go_on(self, line: str) -> None:
        """Add a line that says neither time nor thread to what stands before it in the file."""
        if not line.strip():
            return
        if not self._open:
            self._open[""] = Entry(Record("", "", line))
        next(reversed(self._open.values())).lines.append(line)


def _goes_on(entry: Entry, record: Record) -> bool:
    """Tell whether a worker's line belongs to the entry before it on the same output."""
    message, phase = record.message, entry.phase
    if message == TRACEBACK:
        # What logging.exception says stands right before, and a chain's second after a blank line.
        entry.phase = "frames"
        return (phase == "plain" and _at_once(entry, record)) or entry.lines[-1] == ""
    if message.startswith((" ", "\t")):
        return phase != "plain" or _at_once(entry, record)
    if message in ("", *CHAINED):
        return phase != "plain"
    entry.phase = "exception" if phase == "frames" else phase
    return phase == "frames"


def _at_once(entry: Entry, record: Record) -> bool:
    """Tell whether a line came with the entry's first one: Java gives each its own time."""
    begin, now = (datetime.fromisoformat(time) for time in (entry.time, record.time))
    return abs((now - begin).total_seconds()) < _AT_ONCE
