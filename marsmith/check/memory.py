"""Does a worker keep something of every request?"""

from __future__ import annotations

import time
from collections.abc import Iterator

from marsmith.check.subject import Subject
from marsmith.core.findings import Finding, Severity
from marsmith.core.processes import resident_memory
from marsmith.worker.runtime import Runtime

_REPEATS = 200  # requests in which memory is watched
_PATIENCE = 12.0  # seconds for all of them
_WARM = 50  # requests until caches and the allocator are settled
_GROWTH = 32 << 10  # bytes per request that count as growth


def check_memory(subject: Subject, run: Runtime, body: bytes) -> Iterator[Finding]:
    """Yield that memory grows with the same request, asked again and again."""
    deadline, sizes = time.monotonic() + _PATIENCE, []
    for count in range(_WARM + _REPEATS):
        run.predict(body)
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
        message = f"each request leaves {growth / 1000:.0f} kB behind in the worker"
        hint = "keep nothing of a request: lists, caches, tensors with gradients"
        yield subject.finding(
            "memory", message, hint, *subject.defined("handle"), severity=Severity.WARNING
        )
