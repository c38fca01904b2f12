"""Why a worker could not load its model, read from its log; text in, one finding out; no IO.

TorchServe's loader swallows the handler's ImportError and raises another one
(ts/model_loader.py, load), and its worker reports most others as "500 - Unknown exception"
(ts/model_service_worker.py). The true one stands before them in the log.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from marsmith.core.findings import Finding

_LINE = re.compile(r"^\S+ (?P<stream>W-\d+-(?P<worker>.+?)-std(?:out|err)) (?P<text>.*)$")
TRACEBACK = "Traceback (most recent call last):"
CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_MASKING = (
    re.compile(r"No module named 'ts\.torch_handler\."),
    re.compile(r"^RuntimeError: \d{3} - "),
)
_FRAME = re.compile(r'^  File "(?P<path>.+)", line (?P<line>\d+)(, in (?P<function>.+))?')
_UNPACKED = re.compile(r"/models/[0-9a-f]{32}/(?P<name>.+)$")
# The folder that an archive was unpacked into, which is gone when its path is read.
_FOLDER = re.compile(r"(/[^\s'\"]*)?/models/[0-9a-f]{32}(/|\b)")
# What TorchServe's worker says of itself.
CHATTER = re.compile(
    r"(s_name_part0=|Listening on port|\[(PID|METRICS)\]|Torch worker started|Python runtime"
    r"|model_name: |Connection accepted|Backend received inference|Frontend disconnected"
    r"|Successfully loaded .*metrics)"
)
_LAST = 3  # frames, or lines of a log, that are told
_MAX_MESSAGE = 12  # lines


@dataclass(frozen=True)
class Failure:
    """An exception in a worker: `TypeName: message`, and where in the archive it was raised."""

    exception: str
    file: str | None = None
    line: int | None = None
    of_default_handler: bool = False  # raised while TorchServe imported one of its own handlers
    frames: tuple[str, ...] = field(default=(), compare=False)  # the last ones, innermost last


def model_lines(log: str, model: str, version: str) -> list[str]:
    """Return what the workers of one model printed, without the log's own fields.

    Workers write at the same time; here the lines of each of their streams stand together.
    """
    streams: dict[str, list[str]] = {}
    for line in log.splitlines():
        match = _LINE.match(line)
        if match and match["worker"] == f"{model}_{version}":
            streams.setdefault(match["stream"], []).append(match["text"])
    # What ends a worker is logged to its standard output, so that comes last.
    ordered = sorted(streams, key=lambda stream: stream.endswith("-stdout"))
    return [text for stream in ordered for text in streams[stream]]


def find_failure(lines: list[str]) -> Failure | None:
    """Return the exception that ended a worker, or None if there is no traceback.

    Earlier tracebacks may be of exceptions that were dealt with. Of a chain it is the last one
    that does not hide the true one, as those do that come of looking for a default handler of the
    same name when the archive's own could not be imported.
    """
    tracebacks = [
        _read_traceback(lines[position:])
        for position, line in enumerate(lines)
        if line == TRACEBACK
    ]
    telling = [
        found for found in tracebacks if not any(m.search(found.exception) for m in _MASKING)
    ]
    own = [found for found in telling if found.file and not found.of_default_handler]
    if own and telling[-1].of_default_handler:
        return own[-1]
    return next(reversed(telling or tracebacks), None)


def explain(failure: Failure | None, log_file: str | None, log: str = "") -> Finding:
    """Turn a worker's exception into what is wrong and what to do.

    Without a `log_file` to look into, the hint says what is of interest in the `log` itself.
    """
    if failure is None:
        where = f"its last lines are in {log_file}" if log_file else _tail(log)
        return Finding(
            "its worker ended without an error message",
            f"it was killed (out of memory?) or called exit(); {where}",
        )
    message = failure.exception
    hint = next((text for pattern, text in _HINTS if re.search(pattern, message)), None)
    missing = re.match(r"ModuleNotFoundError: No module named '([^']+)'", message)
    if missing:
        hint = _missing_module(missing[1])
    if hint is None:
        frames = f"it was raised by {' ← '.join(reversed(failure.frames)) or 'no file'}"
        where = f"the whole traceback is in {log_file}" if log_file else frames
        hint = f"mend it and build the archive again; {where}"
    return Finding(message, hint, failure.file, failure.line)


def _tail(log: str) -> str:
    """Return the last lines of a log that is about to vanish."""
    lines = [line.strip()[:200] for line in log.splitlines() if line.strip()]
    own = [line for line in lines if not CHATTER.match(line)][-_LAST:]
    return f"its last lines: {' | '.join(own)}" if own else "it said nothing"


def _read_traceback(lines: list[str]) -> Failure:
    """Read one traceback from its first line: indented frames, then the exception."""
    end = next(
        (i for i, line in enumerate(lines[1:], 1) if line and line[0] != " "), len(lines) - 1
    )
    message = [lines[end]]
    for line in lines[end + 1 : end + _MAX_MESSAGE]:
        if line in ("", TRACEBACK, *CHAINED) or not line.startswith(("\t", " ")):
            break
        message.append(line.strip())
    file, number = _place(lines[1:end])
    found = (_FRAME.match(line) for line in lines[1:end])
    frames = [_shown(one) for one in found if one and "<frozen importlib" not in one["path"]]
    default = any("in _load_default_handler" in line for line in lines[1:end])
    text = _FOLDER.sub("", "\n".join(message))
    return Failure(text, file, number, default, tuple(frames[-_LAST:]))


def _shown(frame: re.Match[str]) -> str:
    inside = _UNPACKED.search(frame["path"])
    name = inside["name"] if inside else frame["path"].rpartition("/")[2]
    return f"{name}:{frame['line']}" + (f" in {frame['function']}" if frame["function"] else "")


def _place(frames: list[str]) -> tuple[str | None, int | None]:
    """Return the innermost frame that lies in the unpacked archive."""
    for line in reversed(frames):
        if (frame := _FRAME.match(line)) and (inside := _UNPACKED.search(frame["path"])):
            return inside["name"], int(frame["line"])
    return None, None


def _missing_module(module: str) -> str:
    if module == "captum":
        return "TorchServe's vision handlers import it without declaring it: pip install captum"
    return (
        f"if {module} is a file of yours, add it to extra_files; "
        "if it is a package, install it here or declare it in a requirements_file"
    )


_HINTS = (
    (
        r"Error\(s\) in loading state_dict",
        "the weights are of another architecture than model_file: pair two that belong together",
    ),
    (
        r"UnpicklingError: Weights only load failed",
        "the weights pickle more than tensors: save them with torch.save(model.state_dict(), FILE)",
    ),
    (
        r"PytorchStreamReader|unexpected EOF|Ran out of input|invalid load key|EOFError",
        "the weights are cut off or damaged: copy them again, or save them again",
    ),
    (r"SyntaxError|IndentationError|TabError", "mend the line and build the archive again"),
    (r"unknown handler_config key", "correct it in archives.toml, [archives.NAME.handler_config]"),
    (
        r"missing \d+ required positional argument",
        "TorchServe builds the model without arguments: give them default values",
    ),
    (
        r"Expected only one class",
        "leave one class in the file and import the others from extra_files",
    ),
    (r"Can't instantiate abstract class", "implement the methods that it names"),
    (r"FileNotFoundError", "put the file into the archive: add it to extra_files"),
    (r"MemoryError|out of memory", "free memory, or serve fewer workers: minWorkers"),
)
