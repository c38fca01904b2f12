"""Check the keys and values of an archive's model-config."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from marsmith.check.subject import Subject
from marsmith.core.errors import ArchiveError
from marsmith.core.findings import Finding, Severity
from marsmith.core.suggestions import closest
from marsmith.project.spec_schema import SERVING_KEYS, serving_problems, workers_problem
from marsmith.torchserve.devices import device_problems, gpus_here

_THREADS = re.compile(rb"^[^#\n]*\bset_num_threads\(\s*(?P<count>\d{1,4})\s*\)", re.MULTILINE)
_TIMEOUT = 120  # seconds; TorchServe's default for an answer


def check_serving(subject: Subject) -> Iterator[Finding]:
    """Yield unknown keys, invalid values, and values that contradict each other."""
    try:
        config = subject.archive.model_config
    except ArchiveError as error:
        yield subject.finding(
            error.message, error.hint, subject.manifest.config_file, rule="serving-unreadable"
        )
        return
    for key in config.keys() - SERVING_KEYS:
        # Handlers may read other keys, so only a likely misspelling is reported.
        close = closest(str(key), SERVING_KEYS, cutoff=0.8)
        if close and not _is_read(subject, str(key)):
            message = f"TorchServe ignores the unknown key {key!r}"
            yield subject.config_finding(
                str(key),
                message,
                f"did you mean {close!r}?",
                severity=Severity.WARNING,
                rule="serving-key",
            )
    known = {key: value for key, value in config.items() if key in SERVING_KEYS}
    problems = list(serving_problems(known))
    for key, message in problems:
        yield subject.config_finding(key, message, f"change {key}", rule="serving-value")
    if not problems:
        yield from _check_relations(subject, config)
        for key, message, hint, severity in device_problems(config, gpus_here()):
            yield subject.config_finding(
                key, message, hint, rule="serving-device", severity=severity
            )


def _is_read(subject: Subject, key: str) -> bool:
    """Return whether a Python file of the archive names a key, and so probably reads it."""
    quoted = (f'"{key}"'.encode(), f"'{key}'".encode())
    return any(text in content for content in subject.python_files.values() for text in quoted)


def _check_relations(subject: Subject, config: dict[str, object]) -> Iterator[Finding]:
    def number(key: str, default: int) -> int:
        value = config.get(key, default)
        return value if isinstance(value, int) else default

    if problem := workers_problem(config):
        yield subject.config_finding("minWorkers", *problem, rule="serving-workers")
    high = number("maxWorkers", number("minWorkers", 1))
    delay, timeout = number("maxBatchDelay", 100), number("responseTimeout", _TIMEOUT)
    if delay >= 1000 * timeout:
        message = f"a batch may wait {delay} ms, but its answer must come within {timeout} s"
        hint = "maxBatchDelay is in milliseconds, responseTimeout in seconds"
        yield subject.config_finding("maxBatchDelay", message, hint, rule="serving-delay")
    if config.get("deviceType") != "gpu":
        yield from _check_threads(subject, config, high)


def _check_threads(subject: Subject, config: dict[str, object], workers: int) -> Iterator[Finding]:
    """Yield a finding if the workers' threads exceed the cores of this machine."""
    own = config.get("handler_config")
    given = own.get("threads", 0) if isinstance(own, dict) else 0
    in_code = _threads_in_code(subject)
    threads = given if isinstance(given, int) and given > 0 else in_code
    cores = os.cpu_count() or 1
    if workers * max(threads, 1) <= cores:
        return
    key = "threads" if threads and threads == given else "maxWorkers"
    message = f"{workers} workers with {threads} threads each need more than the {cores} cores here"
    hint = "set threads = 0 to share the cores among the workers, or use fewer workers"
    if threads and threads == in_code:
        hint = "call torch.set_num_threads(1) with several workers, or use fewer workers"
    elif not threads:
        message = f"{workers} workers need more than the {cores} cores here"
        hint = "lower maxWorkers: workers that compete for cores are all slower"
    yield subject.config_finding(
        key, message, hint, severity=Severity.WARNING, rule="serving-threads"
    )


def _threads_in_code(subject: Subject) -> int:
    """Return the largest number of threads that the archive's code sets for torch."""
    found = [_THREADS.finditer(content) for content in subject.python_files.values()]
    return max((int(one["count"]) for each in found for one in each), default=0)
