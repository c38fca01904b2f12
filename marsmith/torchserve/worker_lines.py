"""Lines that a worker prints, and lines about it in the front end's log; no IO."""

from __future__ import annotations

import re
from collections.abc import Callable

from marsmith.torchserve.log_records import parse_line

TRACEBACK = "Traceback (most recent call last):"
CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
# What TorchServe's worker prints of itself.
CHATTER = re.compile(
    r"(s_name_part0=|Listening on port|\[(PID|METRICS)\]|Torch worker started|Python runtime"
    r"|model_name: |Connection accepted|Backend received inference|Frontend disconnected"
    r"|Successfully loaded .*metrics)"
)
# What the front end logs when a worker has ended (WorkerThread.java, BatchAggregator.java), and the
# worker itself if it can (model_service_worker.py). After an exception only the latter is certain.
_ENDED = (
    r"\w+ \w+ (Load model failed|Backend worker (error|thread|did not|monitoring)|Auto recovery)"
)
_DIED = "Backend worker process died"
# The folder that an archive was unpacked into. It is gone by the time its path is read.
UNPACKED_FOLDER = re.compile(r"(/[^\s'\"]*)?/models/[0-9a-f]{32}(/|\b)")
_UNPACKED_FILE = re.compile(rf"{UNPACKED_FOLDER.pattern}(?P<entry>[^\s'\"]*)")
_INSTALLED = re.compile(r"(?<=[\"'\s])/[^\s'\"]*?/(site|dist)-packages/")

# What Java prints on any machine, and what says why the front end ended.
_NO_CAUSE = re.compile(r"nvidia-smi|xpu-smi|^WARNING:")
_CAUSE = re.compile(r"Invalid|Exception|Error|[Ff]ailed")
_PIP_ERROR = re.compile(r"\s*(ERROR|error):")
_PIP_COLLECTS = re.compile(r"\s*(?:Collecting|Processing) (\S+)")


def refusal_of(server_log: str, file: str) -> str | None:
    """Return why the front end refused to load an archive's file; None if it did not."""
    found = re.search(rf"Failed to load model: {re.escape(file)}\s*(.*)", server_log)
    return (found[1] or "no reason given") if found else None


def pip_problem(server_log: str, model: str) -> str | None:
    """Return pip's last error if it could not install what a model requires; None otherwise."""
    start = f"Custom pip package installation failed for model {model}:\n"
    printed = server_log.rpartition(start)[2] if start in server_log else ""
    lines = printed.partition("\n\n")[0].splitlines()
    errors = [line for line in lines if _PIP_ERROR.match(line)]
    if not lines:
        return None
    last = _PIP_ERROR.sub("", (errors or lines)[-1]).strip()
    collected = [found[1] for line in lines if (found := _PIP_COLLECTS.match(line))]
    # An error of a program that pip ran does not name the requirement, as pip's own do.
    of_program = errors and errors[-1].lstrip().startswith("error:")
    return f"{collected[-1]}: {last}" if collected and of_program else last


def last_words(lines: list[str]) -> str:
    """Return the line that says why the front end ended, or its last one."""
    words = [line for line in lines if line.strip() and not _NO_CAUSE.search(line)]
    return next(filter(_CAUSE.search, words), words[-1] if words else "it printed nothing")


def model_lines(log: str, model: str, version: str) -> list[str]:
    """Return what the workers of one model printed, without the log's own fields.

    Workers write at the same time; the lines of each of their streams are put together.
    """
    streams: dict[str, list[str]] = {}
    for record in filter(None, map(parse_line, log.splitlines())):
        stream = record.stream
        worker = f"{stream.model}_{stream.version}" if stream else ""
        if record.printed and worker == f"{model}_{version}":
            streams.setdefault(record.thread, []).append(record.message)
    # What ends a worker is printed to its standard output, so that comes last.
    ordered = sorted(streams, key=lambda thread: thread.endswith("-stdout"))
    return [text for thread in ordered for text in streams[thread]]


def worker_has_ended(server_log: str, workers_log: str, model: str, version: str) -> bool:
    """Return whether the logs say that a worker of a model has ended."""
    worker = rf"W-\d+-{re.escape(f'{model}_{version}')}"
    return bool(
        re.search(f"{worker} {_ENDED}", server_log)
        or re.search(f"{worker}-stdout {_DIED}", workers_log)
    )


def front_end_exception(server_log: str, model: str, version: str) -> str | None:
    """Return the last exception with which the front end gave up a worker of a model, or None."""
    worker = rf"W-\d+-{re.escape(f'{model}_{version}')}"
    found = re.findall(
        rf"{worker} \w+ \w+ Backend worker (?:error|thread exception)\S*\n(\S+: .*)", server_log
    )
    return found[-1] if found else None


def with_source_names(text: str, source_name: Callable[[str], str]) -> str:
    """Replace paths in a worker's temporary folder by `source_name(entry)`, the user's file.

    Paths of installed packages start with the package's name afterwards.
    """

    def named(match: re.Match[str]) -> str:
        return source_name(match["entry"]) if match["entry"] else ""

    return _INSTALLED.sub("", _UNPACKED_FILE.sub(named, text))
