"""A load trial: one configuration under load, with all statuses and some answers checked.

The load comes in slices. After each, a configuration is given up if it can no longer become the
best: early only if it is far behind, later also if it is near, since few slices are less exact.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from marsmith.answers.samples import Sample
from marsmith.archive.reader import Archive
from marsmith.tune.conditions import Conditions
from marsmith.tune.load import Load
from marsmith.tune.load_connection import http_request
from marsmith.tune.load_result import LoadResult
from marsmith.tune.measurements import Measurement
from marsmith.tune.space import Configuration
from marsmith.tune.trial_server import TrialServer

SLICES = 6
_SLICE = 0.5  # seconds
_LONGEST = 5.0  # seconds that a slice may take to get enough answers
_ENOUGH = 100  # answers, for a first idea of the 99th percentile
_WARM = 0.5  # seconds to warm up workers
_COLD = 8  # seconds at most to warm up the front end, which Java compiles while it runs
_SETTLED = 1.03  # it is warm once a second is at most this times faster than the last one


class Trial:
    """A served configuration and its load. Use it as a context manager."""

    def __init__(
        self,
        server: TrialServer,
        archive: Archive,
        conditions: Conditions,
        stop: Callable[[], bool],
    ) -> None:
        chosen = conditions.samples
        self.samples = [one for one in archive.samples if not chosen or one.request in chosen]
        self.archive = archive
        self._server = server
        self._stop = stop
        url, headers = server.url(archive), server.headers()
        asked = [archive.request_of(one) for one in self.samples]
        requests = [http_request(url, one.body, one.sent_headers() | headers) for one in asked]
        self._load = Load(url, requests, conditions.connections)

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, and unregister the archive."""
        self._load.close()
        self._server.forget(self.archive)

    def warm(self, *, cold: bool = False) -> None:
        """Load it without counting; if the server is `cold`, until its rate is stable."""
        before = self.slice(_WARM).requests_per_second
        for _ in range(_COLD if cold else 0):
            now = self.slice(1).requests_per_second
            if now <= before * _SETTLED or self._stop():
                break
            before = now

    def slice(self, seconds: float = _SLICE) -> LoadResult:
        """Load it for some seconds; for longer if there are few answers."""
        result = self._load.run(seconds, self._stop)
        while len(result.latencies) < _ENOUGH and result.seconds < _LONGEST:
            if self._stop() or result.failures:
                break
            result = result + self._load.run(seconds, self._stop)
        return result

    def rest(self) -> None:
        """Pause the load, so that others can use the machine."""
        self._load.rest(stop=self._stop)

    def failure(self, result: LoadResult) -> str | None:
        """Return what is wrong with an answer; None if all checked answers are as expected."""
        for reason, count in result.failures.most_common(1):
            total = len(result.latencies) + sum(result.failures.values())
            return f"{count} of {total} requests failed: {reason}"
        return _first_difference(self.archive, self.samples, result)


def _first_difference(
    archive: Archive, samples: Sequence[Sample], result: LoadResult
) -> str | None:
    for number, body in result.answers:
        sample = samples[number]
        expected = archive.read(sample.response)
        if wrong := sample.difference(expected, body):
            return f"wrong answer to {sample.request}: {wrong}"
    return None


def measure(
    trial: Trial,
    configuration: Configuration,
    started: float,
    give_up: Callable[[Measurement, float], bool],
    stop: Callable[[], bool],
) -> Measurement | None:
    """Measure a configuration; None if the user stopped it.

    `started` is when its workers were requested, on time.perf_counter()'s clock. `give_up` is
    called after each slice with the measurement so far and the share of the slices that are done.
    """
    result = LoadResult()
    for done in range(1, SLICES + 1):
        result = result + trial.slice()
        if stop():
            return None
        taken = time.perf_counter() - started
        so_far = measured(configuration, result, taken, trial.failure(result))
        if so_far.failure is not None:
            return so_far
        if done < SLICES and give_up(so_far, done / SLICES):
            return replace(so_far, complete=False)
    return so_far


def measured(
    configuration: Configuration, result: LoadResult, seconds: float, failure: str | None = None
) -> Measurement:
    """Turn the result of a load into a measurement, without figures if it failed."""
    if failure is not None:
        return failed(configuration, seconds, failure)
    return Measurement(
        configuration,
        round(result.requests_per_second, 2),
        round(result.percentile(50), 6),
        round(result.percentile(99), 6),
        round(seconds, 3),
    )


def failed(configuration: Configuration, seconds: float, failure: str) -> Measurement:
    """Return the measurement of a configuration that failed."""
    return Measurement(configuration, 0.0, 0.0, 0.0, round(seconds, 3), failure=failure)


def is_hopeless(so_far: Measurement, share: float, best: float, goal: float) -> bool:
    """Return whether a configuration can no longer become the best.

    `share` of its load is done, `best` is the rate to beat (0: none yet), and `goal` the limit of
    p99 in seconds. The margins are how much slices of one configuration were seen to differ: a
    quarter after a sixth of the load, a twentieth after all of it.
    """
    margin = 0.05 + 0.24 * (1 - share)
    too_slow = so_far.requests_per_second < best * (1 - margin)
    return too_slow or so_far.p99 > goal * (1 + 2 * margin)
