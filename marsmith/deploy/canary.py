"""A canary: a new version gets a share of the requests, and must not be worse."""

from __future__ import annotations

import shlex
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
from marsmith.deploy.change import Change
from marsmith.deploy.options import CanaryOptions
from marsmith.deploy.replay import complaint
from marsmith.server.version_record import Version
from marsmith.torchserve.metrics_text import parse_metrics

MOST_FAILURES = 0.01  # of the requests that it gets
SLOWER = 1.5  # times the mean latency of the previous version …
MARGIN = 5.0  # … plus so many ms
ENOUGH = 20  # requests of each version, for their latencies to be compared
MOST_DIFFER = 0.1  # of the compared answers, before there is a warning
_PAUSE = 0.5  # seconds between two rounds of samples
_LATE = 10.0  # seconds that the answer to a sample may take beyond the end of the canary
_REQUESTS = "ts_inference_requests_total"
_LATENCY = "ts_inference_latency_microseconds"


@dataclass(frozen=True)
class Counted:
    """What the front end counted for a version so far."""

    requests: float
    microseconds: float

    def since(self, before: Counted) -> Counted:
        """Return what came after."""
        return Counted(self.requests - before.requests, self.microseconds - before.microseconds)

    @property
    def mean(self) -> float:
        """Milliseconds a request, from its arrival to its answer."""
        return self.microseconds / 1000 / self.requests if self.requests else 0.0


def try_canary(change: Change, new: Version, old: Version, options: CanaryOptions) -> None:
    """Send a share of the requests of Marsmith's clients to `new` for some seconds.

    Raises RolloutError if it answers a sample wrongly, fails too often, is slower, or too seldom
    agrees with the previous version.
    """
    change.transaction.step(f"send {options.share:.0%} of the requests to {new.name} {new.version}")
    archive = change.prover.archive_of(new)
    folder = Path(change.session.state.folder)
    routes, reports = folder / ROUTES_FILE, folder / REPORTS_FILE
    before = _counted(change, old), _counted(change, new)
    probes = 0
    try:
        reports.write_bytes(b"")
        with replacing(routes) as file:
            file.write(format_routes({new.name: _route(archive, new, options)}))
        end = time.monotonic() + options.seconds
        while (left := end - time.monotonic()) > 0:
            change.transaction.require_going()
            _require_few(_counts(reports)["failed"], _counted(change, new).since(before[1]))
            probe = partial(_probe, change, archive, new, old, left + _LATE)
            probes += change.transaction.waiting_for(probe)
            time.sleep(_PAUSE)
        counts = _counts(reports)
    finally:
        for path in (routes, reports):
            with suppress(OSError):
                path.unlink(missing_ok=True)
    was = _counted(change, old).since(before[0])
    now = _counted(change, new).since(before[1])
    _require_few(counts["failed"], now)
    _judge(change, was, now, probes)
    previous = change.prover.archive_of(old).path
    compare = shlex.join(("marsmith", "diff", str(previous), str(archive.path)))
    _require_agreement(change, counts, options.agreement, compare)


def _counts(reports: Path) -> dict[Outcome, int]:
    try:
        return count_reports(reports.read_text())
    except FileNotFoundError as error:
        raise RolloutError(
            "the server was restarted during the canary",
            "see why: marsmith logs; then deploy again",
            code="server-restarted",
        ) from error


def _route(archive: Archive, new: Version, options: CanaryOptions) -> Route:
    """Return the route; answers agree within the tolerance of the samples."""
    tolerance = max((one.tolerance for one in archive.samples), default=0.0)
    largest = max((one.largest for one in archive.samples), default=LARGEST)
    until = time.time() + options.seconds + _LATE
    return Route(new.version, options.share, tolerance, largest, until)


def _probe(change: Change, archive: Archive, new: Version, old: Version, seconds: float) -> int:
    """Send each sample to both versions; return how many requests each of them got."""
    for sample in archive.samples:
        request, expected = archive.request_of(sample), archive.read(sample.response)
        for version in (old, new):  # both, so that they have the same load
            answer = change.session.client.predict(
                new.name, request, version=version.version, deadline=seconds
            )
        if wrong := complaint(sample, expected, answer):
            raise RolloutError(
                f"under load it answers its sample {sample.request} wrongly: {wrong}",
                f"see its log: marsmith logs {new.name}",
                code="canary-worse",
            )
    return len(archive.samples)


def _require_few(failures: int, seen: Counted) -> None:
    """Raise RolloutError if too many requests failed; a single one is accepted."""
    if failures > max(1.0, MOST_FAILURES * seen.requests):
        raise RolloutError(
            f"it failed on {failures} requests, which the previous version answered instead",
            "see its log: marsmith logs",
            code="canary-worse",
        )


def _judge(change: Change, was: Counted, now: Counted, probes: int) -> None:
    real = now.requests - probes
    words = f"{now.mean:.1f} ms a request, the previous version {was.mean:.1f} ms"
    if min(was.requests, now.requests) < ENOUGH:
        change.transaction.warn(
            f"latencies not compared: only {real:.0f} requests",
            "let the canary take longer: --canary-for SECONDS",
            rule="canary-short",
        )
    elif now.mean > SLOWER * was.mean + MARGIN:
        raise RolloutError(
            f"it takes {words}",
            "make it faster, or give it more workers: --workers",
            code="canary-worse",
        )
    else:
        change.transaction.tell(f"canary: {real:.0f} requests, {words}")


def _require_agreement(
    change: Change, counts: Mapping[Outcome, int], wanted: float, compare: str
) -> None:
    """Tell how often both versions gave the same answer; raise RolloutError if too seldom.

    `compare` is the command that shows what differs.
    """
    alike, other = counts["alike"], counts["other"]
    if not alike + other:
        change.transaction.warn(
            "no answers could be compared with the previous version",
            f"compare them yourself: {compare}",
            rule="canary-short",
        )
        return
    words = f"{alike} of {alike + other} answers agree with the previous version"
    if alike < wanted * (alike + other):
        raise RolloutError(
            words,
            f"see what changed: {compare}; or lower --canary-agreement",
            code="canary-worse",
        )
    if other > MOST_DIFFER * (alike + other):
        change.transaction.warn(
            f"only {words}", f"see what changed: {compare}", rule="canary-differs"
        )
    else:
        change.transaction.tell(words)


def _counted(change: Change, version: Version) -> Counted:
    scrape = parse_metrics(change.session.client.metrics())
    # Requests that name no version are counted under `default` alone.
    versions = {version.version, "default"} if version.default else {version.version}

    def is_of_it(labels: Mapping[str, str]) -> bool:
        return labels["model_name"] == version.name and labels["model_version"] in versions

    def total(metric: str) -> float:
        return scrape.total(metric, is_of_it) or 0.0

    return Counted(total(_REQUESTS), total(_LATENCY))
