"""Does an archive's model-config ask of TorchServe what it can give?"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from marsmith.check.subject import Subject
from marsmith.core.errors import ArchiveError
from marsmith.core.findings import Finding, Severity
from marsmith.core.suggestions import closest
from marsmith.project.spec_schema import SERVING_KEYS, serving_problems

_THREADS = re.compile(rb"^[^#\n]*\bset_num_threads\(\s*(?P<count>\d{1,4})\s*\)", re.MULTILINE)
_TIMEOUT = 120  # seconds; TorchServe's default for an answer


def check_serving(subject: Subject) -> Iterator[Finding]:
    """Yield keys that TorchServe does not know or take, and values that contradict one another."""
    try:
        config = subject.archive.model_config
    except ArchiveError as error:
        yield subject.finding(
            "serving-unreadable", error.message, error.hint, subject.manifest.config_file
        )
        return
    for key in config.keys() - SERVING_KEYS:
        # Other keys are for the handler to read; only what looks like a slip is told.
        close = closest(str(key), SERVING_KEYS, cutoff=0.8)
        if close and not _is_read(subject, str(key)):
            message = f"TorchServe does not know the key {key!r}, and ignores it"
            yield subject.config_finding(
                "serving-key", str(key), message, f"did you mean {close!r}?", Severity.WARNING
            )
    known = {key: value for key, value in config.items() if key in SERVING_KEYS}
    problems = list(serving_problems(known))
    for key, message in problems:
        yield subject.config_finding("serving-value", key, message, f"change {key}")
    if not problems:
        yield from _check_relations(subject, config)


def _is_read(subject: Subject, key: str) -> bool:
    """Whether a Python file of the archive speaks of a key, and so is likely to read it."""
    quoted = (f'"{key}"'.encode(), f"'{key}'".encode())
    return any(text in content for content in subject.python_files.values() for text in quoted)


def _check_relations(subject: Subject, config: dict[str, object]) -> Iterator[Finding]:
    def number(key: str, default: int) -> int:
        value = config.get(key, default)
        return value if isinstance(value, int) else default

    low, high = number("minWorkers", 1), number("maxWorkers", number("minWorkers", 1))
    if low > high:
        message = f"minWorkers = {low} is more than maxWorkers = {high}"
        yield subject.config_finding(
            "serving-workers", "minWorkers", message, "lower it, or raise the other"
        )
    delay, timeout = number("maxBatchDelay", 100), number("responseTimeout", _TIMEOUT)
    if delay >= 1000 * timeout:
        message = f"a batch may wait {delay} ms, and its answer must come within {timeout} s"
        hint = "maxBatchDelay is in milliseconds, responseTimeout in seconds"
        yield subject.config_finding("serving-delay", "maxBatchDelay", message, hint)
    if config.get("deviceType") != "gpu":
        yield from _check_threads(subject, config, high)


def _check_threads(subject: Subject, config: dict[str, object], workers: int) -> Iterator[Finding]:
    """Yield what asks for more cores than there are here, where each worker computes on them."""
    own = config.get("handler_config")
    given = own.get("threads", 0) if isinstance(own, dict) else 0
    in_code = _threads_in_code(subject)
    threads = given if isinstance(given, int) and given > 0 else in_code
    cores = os.cpu_count() or 1
    if workers * max(threads, 1) <= cores:
        return
    key = "threads" if threads and threads == given else "maxWorkers"
    message = f"{workers} workers with {threads} threads each want more than the {cores} cores here"
    hint = "threads = 0 shares the cores among the workers; or fewer workers"
    if threads and threads == in_code:
        hint = "torch.set_num_threads(1) where there are several workers; or fewer workers"
    elif not threads:
        message = f"{workers} workers want more than the {cores} cores here"
        hint = "lower maxWorkers: workers that wait for one another answer later, all of them"
    yield subject.config_finding("serving-threads", key, message, hint, Severity.WARNING)


def _threads_in_code(subject: Subject) -> int:
    """Return the largest number of threads that the archive's Python files set for torch."""
    found = [_THREADS.finditer(content) for content in subject.python_files.values()]
    return max((int(one["count"]) for each in found for one in each), default=0)
