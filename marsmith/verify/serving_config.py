"""Does an archive's model-config ask of TorchServe what it can give?"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator

from marsmith.errors import ArchiveError
from marsmith.findings import Finding, Severity
from marsmith.spec import SERVING_KEYS, serving_problems
from marsmith.verify.subject import Subject

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
        close = difflib.get_close_matches(str(key), SERVING_KEYS, n=1, cutoff=0.8)
        if close and not _is_read(subject, str(key)):
            message = f"TorchServe does not know the key {key!r}, and ignores it"
            yield subject.config_finding(
                "serving-key", str(key), message, f"did you mean {close[0]!r}?", Severity.WARNING
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
    own = config.get("handler_config")
    threads = own.get("threads", 0) if isinstance(own, dict) else 0
    cores = os.cpu_count() or 1
    if isinstance(threads, int) and threads * high > cores:
        message = (
            f"{high} workers with {threads} threads each want more than the {cores} cores here"
        )
        hint = "threads = 0 shares the cores among the workers; or fewer workers"
        yield subject.config_finding("serving-threads", "threads", message, hint, Severity.WARNING)
