"""Check that a worker's memory does not grow with each request."""

from __future__ import annotations

import time
from collections.abc import Iterator

from marsmith.answers.messages import Request
from marsmith.check.subject import Subject
from marsmith.core.findings import Finding, Severity
from marsmith.core.processes import resident_memory
from marsmith.worker.runtime import Runtime

_REPEATS = 200  # requests while memory is measured
_PATIENCE = 12.0  # seconds for all of them
_WARM = 50  # requests until caches and allocator are warm
_GROWTH = 32 << 10  # bytes per request that count as growth


def check_memory(subject: Subject, run: Runtime, request: Request) -> Iterator[Finding]:
    """Yield a finding if memory grows while the same request is repeated."""
    deadline, sizes = time.monotonic() + _PATIENCE, []
    for count in range(_WARM + _REPEATS):
        run.predict(request)
        if count >= _WARM:
            sizes.append(resident_memory(run.pid or 0))
        if time.monotonic() > deadline:
            break
    quarter = len(sizes) // 4
    if quarter < 10:
        return
    steps = [sizes[(k + 1) * quarter - 1] - sizes[k * quarter] for k in range(4)]
    growth = (sizes[-1] - sizes[0]) / len(sizes)
    if min(steps) > 0 and growth > _GROWTH:
        message = f"the worker's memory grows by {growth / 1000:.0f} kB with each request"
        hint = "keep nothing after a request: no lists, caches, or tensors with gradients"
        yield subject.finding(
            message, hint, *subject.defined("handle"), severity=Severity.WARNING, rule="memory"
        )
