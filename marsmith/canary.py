"""A new version on trial: a share of the requests goes to it, and it must not be worse."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from marsmith.deployments import Version, path_of
from marsmith.errors import RolloutError
from marsmith.exposition import parse_metrics
from marsmith.operating import Operation
from marsmith.placing import PlacedArchive
from marsmith.proving import complaint
from marsmith.replacing import replacing
from marsmith.routing import FAILURES_FILE, ROUTES_FILE, Route, format_routes
from marsmith.server_state import server_folder

MOST_FAILURES = 0.01  # of the requests that it got
SLOWER = 1.5  # times the mean of the version before …
MARGIN = 5.0  # … and so many ms
ENOUGH = 20  # requests of each version, for their latencies to be compared
_PAUSE = 0.5  # seconds between two rounds of samples
_REQUESTS = "ts_inference_requests_total"
_LATENCY = "ts_inference_latency_microseconds"


@dataclass(frozen=True)
class Seen:
    """What the front end counted of a version so far."""

    requests: float
    microseconds: float

    def since(self, before: Seen) -> Seen:
        """Return what came after."""
        return Seen(self.requests - before.requests, self.microseconds - before.microseconds)

    @property
    def mean(self) -> float:
        """Milliseconds a request, from its arrival to its answer."""
        return self.microseconds / 1000 / self.requests if self.requests else 0.0


def trial(operation: Operation, new: Version, old: Version, share: float, seconds: float) -> None:
    """Send a share 0…1 of the requests of the kit's clients to `new` for so many seconds.

    Raises RolloutError if it answers a sample wrongly, fails too often, or is slower.
    """
    operation.step(f"send {share:.0%} of the requests to {new.name} {new.version}")
    folder = server_folder(operation.project, operation.state.port)
    routes, failures = folder / ROUTES_FILE, folder / FAILURES_FILE
    before = _seen(operation, old), _seen(operation, new)
    probes = 0
    try:
        failures.write_bytes(b"")
        with replacing(routes) as file:
            file.write(format_routes({new.name: Route(new.version, share)}))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            operation.require_going()
            probes += _compare(operation, new, old)
            _require_few(failures.read_text().count("\n"), _seen(operation, new).since(before[1]))
            time.sleep(_PAUSE)
    finally:
        for path in (routes, failures):
            with suppress(OSError):
                path.unlink(missing_ok=True)
    was = _seen(operation, old).since(before[0])
    now = _seen(operation, new).since(before[1])
    _judge(operation, was, now, probes)


def _compare(operation: Operation, new: Version, old: Version) -> int:
    """Ask both versions for each sample; return how many requests that were for each of them."""
    archive = PlacedArchive(path_of(operation.project, new), new.name)
    for sample in archive.samples:
        body, expected = archive.read(sample.request), archive.read(sample.response)
        operation.client.predict(old.name, body, version=old.version)  # so that both are as loaded
        answer = operation.client.predict(new.name, body, version=new.version)
        if wrong := complaint(sample, expected, answer):
            raise RolloutError(
                f"beside {old.version}, it answers its sample {sample.request} wrongly: {wrong}",
                "see what it does under load: marsmith logs",
            )
    return len(archive.samples)


def _require_few(failures: int, seen: Seen) -> None:
    """Raise RolloutError if more requests failed than may; one alone is no share yet."""
    if failures > max(1.0, MOST_FAILURES * seen.requests):
        raise RolloutError(
            f"it failed on {failures} of the {seen.requests:.0f} requests that it got (they were "
            "answered by the version before)",
            "its workers say why: marsmith logs",
        )


def _judge(operation: Operation, was: Seen, now: Seen, probes: int) -> None:
    real = now.requests - probes
    words = f"{now.mean:.1f} ms a request, the version before {was.mean:.1f} ms"
    if min(was.requests, now.requests) < ENOUGH:
        operation.tell(f"warning: {real:.0f} requests came: too few to compare latencies")
    elif now.mean > SLOWER * was.mean + MARGIN:
        raise RolloutError(f"it takes {words}", "make it faster, or give it more: --workers")
    else:
        operation.tell(f"on trial it answered {real:.0f} requests, {words}")


def _seen(operation: Operation, version: Version) -> Seen:
    scrape = parse_metrics(operation.client.metrics())
    # Requests that name no version are counted as the default one's, and only so.
    versions = {version.version, "default"} if version.default else {version.version}

    def is_of_it(labels: Mapping[str, str]) -> bool:
        return labels["model_name"] == version.name and labels["model_version"] in versions

    def total(metric: str) -> float:
        return scrape.total(metric, is_of_it) or 0.0

    return Seen(total(_REQUESTS), total(_LATENCY))
