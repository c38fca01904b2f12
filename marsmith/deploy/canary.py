"""A new version on trial: a share of the requests goes to it, and it must not be worse."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from marsmith.answers.samples import LARGEST
from marsmith.archive.reader import Archive
from marsmith.client.canary_routes import (
    REPORTS_FILE,
    ROUTES_FILE,
    Outcome,
    Route,
    count_reports,
    format_routes,
)
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import RolloutError
from marsmith.deploy.replay import complaint
from marsmith.deploy.transaction import Operation
from marsmith.server.pinned_archives import PlacedArchive
from marsmith.server.version_record import Version, path_of
from marsmith.torchserve.metrics_text import parse_metrics

MOST_FAILURES = 0.01  # of the requests that it got
SLOWER = 1.5  # times the mean of the version before …
MARGIN = 5.0  # … and so many ms
ENOUGH = 20  # requests of each version, for their latencies to be compared
MOST_DIFFER = 0.1  # of the answers that were compared, before it is a warning
_PAUSE = 0.5  # seconds between two rounds of samples
_LATE = 10.0  # seconds that an answer to one of them may take beyond the trial
_REQUESTS = "ts_inference_requests_total"
_LATENCY = "ts_inference_latency_microseconds"


@dataclass(frozen=True)
class Canary:
    """How a new version is tried before it is the default one."""

    share: float  # 0…1 of the requests
    seconds: float = 30.0
    agreement: float = 0.0  # the share 0…1 of compared answers that must agree


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


def trial(operation: Operation, new: Version, old: Version, wish: Canary) -> None:
    """Send a share of the requests of the kit's clients to `new` for some seconds.

    Raises RolloutError if it answers a sample wrongly, fails too often, is slower, or answers
    otherwise than the version before more often than it may.
    """
    operation.step(f"send {wish.share:.0%} of the requests to {new.name} {new.version}")
    archive = PlacedArchive(path_of(operation.project, new), new.name)
    folder = Path(operation.state.folder)
    routes, reports = folder / ROUTES_FILE, folder / REPORTS_FILE
    before = _seen(operation, old), _seen(operation, new)
    probes = 0
    try:
        reports.write_bytes(b"")
        with replacing(routes) as file:
            file.write(format_routes({new.name: _route(archive, new, wish)}))
        end = time.monotonic() + wish.seconds
        while (left := end - time.monotonic()) > 0:
            operation.require_going()
            _require_few(_counts(reports)["failed"], _seen(operation, new).since(before[1]))
            probe = partial(_probe, operation, archive, new, old, left + _LATE)
            probes += operation.waiting_for(probe)
            time.sleep(_PAUSE)
        counts = _counts(reports)
    finally:
        for path in (routes, reports):
            with suppress(OSError):
                path.unlink(missing_ok=True)
    was = _seen(operation, old).since(before[0])
    now = _seen(operation, new).since(before[1])
    _require_few(counts["failed"], now)
    _judge(operation, was, now, probes)
    _require_agreement(operation, counts["alike"], counts["other"], wish.agreement)


def _counts(reports: Path) -> dict[Outcome, int]:
    try:
        return count_reports(reports.read_text())
    except FileNotFoundError as error:
        raise RolloutError(
            "the server was started again meanwhile", "marsmith logs says why; then try it again"
        ) from error


def _route(archive: Archive, new: Version, wish: Canary) -> Route:
    """Answers agree where they would for a sample."""
    tolerance = max((one.tolerance for one in archive.samples), default=0.0)
    largest = max((one.largest for one in archive.samples), default=LARGEST)
    until = time.time() + wish.seconds + _LATE
    return Route(new.version, wish.share, tolerance, largest, until)


def _probe(
    operation: Operation, archive: Archive, new: Version, old: Version, seconds: float
) -> int:
    """Ask both versions for each sample; return how many requests that were for each of them."""
    for sample in archive.samples:
        body, expected = archive.read(sample.request), archive.read(sample.response)
        for version in (old, new):  # both, so that they are as loaded
            answer = operation.client.predict(
                new.name, body, version=version.version, deadline=seconds
            )
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
            f"it failed on {failures} requests, which the version before was asked instead",
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


def _require_agreement(operation: Operation, alike: int, other: int, wanted: float) -> None:
    """Tell how often both versions were asked the same and agreed; raise if that is too rare."""
    if not alike + other:
        operation.tell("warning: no request was compared with the version before")
        return
    words = f"{alike} of {alike + other} answers agree with those of the version before"
    if alike < wanted * (alike + other):
        raise RolloutError(words, "see what changed: marsmith diff; or ask for less agreement")
    differ = other > MOST_DIFFER * (alike + other)
    operation.tell(f"warning: only {words}" if differ else words)


def _seen(operation: Operation, version: Version) -> Seen:
    scrape = parse_metrics(operation.client.metrics())
    # Requests that name no version are counted as the default one's, and only so.
    versions = {version.version, "default"} if version.default else {version.version}

    def is_of_it(labels: Mapping[str, str]) -> bool:
        return labels["model_name"] == version.name and labels["model_version"] in versions

    def total(metric: str) -> float:
        return scrape.total(metric, is_of_it) or 0.0

    return Seen(total(_REQUESTS), total(_LATENCY))
