"""Tracebacks in what a worker printed: the one that names the true cause; no IO.

TorchServe's loader swallows the handler's ImportError and raises another one
(ts/model_loader.py, load), and its worker reports most others as "500 - Unknown exception"
(ts/model_service_worker.py). The true one is printed before them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import takewhile

from marsmith.torchserve.worker_lines import (
    CHAINED,
    TRACEBACK,
    UNPACKED_FOLDER,
    with_source_names,
)

_MASKING = (
    re.compile(r"No module named 'ts\.torch_handler\."),
    re.compile(r"^RuntimeError: \d{3} - "),
)
_FRAME = re.compile(r'^  File "(?P<path>.+)", line (?P<line>\d+)(, in (?P<function>.+))?')
# Frames that say nothing of the cause: of Python's import, of TorchServe's timer and of our watch.
_NOISE = re.compile(r"<frozen importlib|handler_utils/timer\.py$|programs/watched_worker\.py$")
_MISSING = re.compile(r"No module named '([^']+)'")
_LAST_FRAMES = 3  # that are shown
_MAX_MESSAGE = 12  # lines
# Of a group of exceptions, which is printed in a frame: the edge of its own lines, and lines within
# it that are not an exception's.
_GROUP = re.compile(r"  (\+ Exception Group (?=Traceback )|\| ?)")
_OF_GROUP = re.compile(r"^ +(\+[-+ ]|\| +(File |\^| {2}|Traceback )|\|$)")
# What faulthandler prints of a process that crashes, or is asked where it is.
_STACK = re.compile(r"(Stack|(Current thread|Thread) 0x\w+( \[.*\])?) \(most recent call first\):$")
_STACK_FRAME = re.compile(r'^  File "(?P<path>.+)", line (?P<line>\d+) in (?P<function>.+)')


@dataclass(frozen=True)
class Failure:
    """An exception in a worker: `TypeName: message`, and where in the archive it was raised."""

    exception: str
    file: str | None = None
    line: int | None = None
    of_default_handler: bool = False  # raised while TorchServe imported one of its own handlers
    frames: tuple[str, ...] = field(default=(), compare=False)  # the last ones, innermost last
    lines: tuple[str, ...] = field(default=(), compare=False)  # as printed, with its causes


def find_failure(lines: list[str]) -> Failure | None:
    """Return the exception that ended a worker or failed a request; None without a traceback.

    Earlier tracebacks may be of exceptions that were handled. Of a chain it is the last one that
    does not hide the true one. An exception hides it if TorchServe raised it while it looked for a
    default handler of the same name, after it could not import the archive's own.
    """
    plain = [_GROUP.sub("", line) if _GROUP.match(line) else line for line in lines]
    starts = [position for position, line in enumerate(plain) if line == TRACEBACK]
    tracebacks = [_read_traceback(plain, start, lines) for start in starts]
    telling = [
        found for found in tracebacks if not any(m.search(found.exception) for m in _MASKING)
    ]
    own = [found for found in telling if found.file and not found.of_default_handler]
    if own and telling[-1].of_default_handler:
        return own[-1]
    return next(reversed(telling or tracebacks), None)


def traceback_lines(lines: list[str], source_name: Callable[[str], str] = str) -> list[str]:
    """Return the traceback of find_failure's exception, with the user's file names.

    `source_name` returns the user's file behind an entry of the archive. Empty without a traceback.
    """
    failure = find_failure(lines)
    return [with_source_names(line, source_name) for line in failure.lines] if failure else []


def missing_module(message: str) -> str | None:
    """Return the module that an ImportError's message misses, or None for another message."""
    found = _MISSING.search(message)
    return found[1] if found else None


def find_stack(lines: list[str]) -> Failure | None:
    """Return where a process was when it crashed, or was asked; None if that was not printed."""
    start = next((i for i, line in enumerate(lines) if _STACK.match(line)), None)
    if start is None:
        return None
    found = map(_STACK_FRAME.match, lines[start + 1 :])
    frames = list(takewhile(bool, found))
    own = next((one for one in frames if one and _entry(one["path"])), None)
    shown = [_shown(one) for one in frames if one and not _NOISE.search(one["path"])]
    file, line = (_entry(own["path"]), int(own["line"])) if own else (None, None)
    return Failure("", file, line, frames=tuple(shown[:_LAST_FRAMES][::-1]))


def _read_traceback(lines: list[str], start: int, printed: list[str]) -> Failure:
    """Read one traceback from its first line: indented frames, then the exception.

    `lines` are those that were printed, without the frame around a group of exceptions.
    """
    rest = range(start + 1, len(lines))
    end = next((i for i in rest if lines[i] and lines[i][0] != " "), len(lines) - 1)
    message = [lines[end]]
    for line in lines[end + 1 : end + _MAX_MESSAGE]:
        if line in ("", TRACEBACK, *CHAINED) or not line.startswith(("\t", " ")):
            break
        message.append(line)
    inner = lines[start + 1 : end]
    file, number = _place(inner)
    found = (_FRAME.match(line) for line in inner)
    frames = [_shown(one) for one in found if one and not _NOISE.search(one["path"])]
    default = any("in _load_default_handler" in line for line in inner)
    told = [message[0], *(line.strip(" \t|") for line in message[1:] if not _OF_GROUP.match(line))]
    text = UNPACKED_FOLDER.sub("", "\n".join(told))
    whole = tuple(printed[_chain_start(lines, start) : end + len(message)])
    return Failure(text, file, number, default, tuple(frames[-_LAST_FRAMES:]), whole)


def _chain_start(lines: list[str], start: int) -> int:
    """Return where the first exception of a chain starts, in which one at `start` is the last."""
    before = start - 1
    while before >= 0 and lines[before] == "":
        before -= 1
    if before < 0 or lines[before] not in CHAINED:
        return start
    earlier = next((i for i in range(before, -1, -1) if lines[i] == TRACEBACK), None)
    return start if earlier is None else _chain_start(lines, earlier)


def _shown(frame: re.Match[str]) -> str:
    name = _entry(frame["path"]) or frame["path"].rpartition("/")[2]
    return f"{name}:{frame['line']}" + (f" in {frame['function']}" if frame["function"] else "")


def _entry(path: str) -> str | None:
    """Return the archive's entry behind a path in the unpacked archive, or None."""
    found = UNPACKED_FOLDER.search(path)
    return path[found.end() :] if found else None


def _place(frames: list[str]) -> tuple[str | None, int | None]:
    """Return the innermost frame that lies in the unpacked archive."""
    for line in reversed(frames):
        if (frame := _FRAME.match(line)) and (entry := _entry(frame["path"])):
            return entry, int(frame["line"])
    return None, None
