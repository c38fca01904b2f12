"""A canary: a new version gets a share of the requests, and must not be worse.

A gateway takes the share of every caller's requests, and counts (gateway/canary.py).
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from marsmith.answers.samples import LARGEST
from marsmith.archive.reader import Archive
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import RolloutError
from marsmith.deploy.canary_routes import (
    REPORTS,
    ROUTES_FILE,
    Report,
    Route,
    format_routes,
    summed,
)
from marsmith.deploy.change import Change
from marsmith.deploy.options import CanaryOptions
from marsmith.deploy.replay import complaint
from marsmith.server.state import running_servers
from marsmith.server.version_record import Version

MOST_FAILURES = 0.01  # of the requests that it gets
SLOWER = 1.5  # times the mean latency of the previous version …
MARGIN = 5.0  # … plus so many ms
ENOUGH = 20  # requests of each version, for it to be judged
MOST_DIFFER = 0.1  # of the compared answers, before there is a warning
_PAUSE = 0.5  # seconds between two rounds of samples
_LATE = 10.0  # seconds that the answer to a sample may take beyond the end of the canary
_BEGIN = 5.0  # seconds in which a gateway begins to take part


def require_gateway(change: Change) -> None:
    """Raise RolloutError if no gateway can take a share of the requests."""
    state = change.session.state
    servers = running_servers(change.session.project)
    if state.kind != "gateway" and not any(one.in_front for one in servers):
        raise _no_gateway()


def try_canary(change: Change, new: Version, old: Version, options: CanaryOptions) -> None:
    """Let the gateways send a share of the requests to `new` for some seconds.

    Raises RolloutError if it answers a sample wrongly, fails too often, is slower, too seldom
    agrees with the previous version, or got too few requests to tell.
    """
    change.transaction.step(f"send {options.share:.0%} of the requests to {new.name} {new.version}")
    archive = change.prover.archive_of(new)
    begun = time.monotonic()
    end = begun + options.seconds
    with _routed(change, new, _route(archive, new, options)) as folder:
        while True:
            change.transaction.require_going()
            report = _reported(folder, new)
            now = time.monotonic()
            if report is None and now > begun + _BEGIN:
                raise _no_gateway()
            counted = report or Report()
            _require_few(counted)
            if now > end and (now > end + options.wait or not _missing(counted, options)):
                break
            left = end + options.wait - now
            change.transaction.waiting_for(partial(_probe, change, archive, new, old, left + _LATE))
            time.sleep(_PAUSE)
    if missing := _missing(counted, options):
        raise RolloutError(
            f"too few requests to tell: {missing}",
            "let it take longer: --canary-for, or --canary-wait for more requests",
            code="canary-short",
        )
    _judge(change, counted)
    previous = change.prover.archive_of(old).path
    compare = shlex.join(("marsmith", "diff", str(previous), str(archive.path)))
    _require_agreement(change, counted, options.agreement, compare)


def _no_gateway() -> RolloutError:
    return RolloutError(
        "no gateway takes a share of the requests for a canary",
        "start one in front of the server: marsmith gateway --backend torchserve; "
        "requests that pass it are counted",
        code="no-gateway",
    )


@contextmanager
def _routed(change: Change, new: Version, route: Route) -> Iterator[Path]:
    folder = Path(change.session.state.folder)
    try:
        _remove(folder.glob(REPORTS))
        with replacing(folder / ROUTES_FILE, 0o600) as file:
            file.write(format_routes({new.name: route}))
        yield folder
    finally:
        _remove([folder / ROUTES_FILE, *folder.glob(REPORTS)])


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _reported(folder: Path, new: Version) -> Report | None:
    if not (folder / ROUTES_FILE).exists():
        raise RolloutError(
            "the server was restarted during the canary",
            "see why: marsmith logs; then deploy again",
            code="server-restarted",
        )
    texts = [path.read_text(encoding="utf-8") for path in folder.glob(REPORTS)]
    return summed(texts, new.name, new.version)


def _missing(report: Report, options: CanaryOptions) -> str | None:
    """Return how much evidence is missing, in words."""
    if min(report.requests, report.usual_requests) < ENOUGH:
        return (
            f"the canary answered {report.requests} and the previous version "
            f"{report.usual_requests}, of {ENOUGH} that each must have answered"
        )
    if options.agreement and not report.alike + report.other:
        return "no answer could be compared with the previous version's"
    return None


def _route(archive: Archive, new: Version, options: CanaryOptions) -> Route:
    """Return the route; answers agree within the tolerance of the samples."""
    tolerance = max((one.tolerance for one in archive.samples), default=0.0)
    largest = max((one.largest for one in archive.samples), default=LARGEST)
    until = time.time() + options.seconds + options.wait + _LATE
    return Route(new.version, options.share, tolerance, largest, until)


def _probe(change: Change, archive: Archive, new: Version, old: Version, seconds: float) -> None:
    """Send each sample to both versions, which no gateway counts: they are named."""
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


def _require_few(report: Report) -> None:
    """Raise RolloutError if too many requests failed; a single one is accepted."""
    if report.failed > max(1.0, MOST_FAILURES * report.requests):
        raise RolloutError(
            f"it failed on {report.failed} requests, which the previous version answered instead",
            "see its log: marsmith logs",
            code="canary-worse",
        )


def _judge(change: Change, report: Report) -> None:
    words = f"{report.mean:.1f} ms a request, the previous version {report.usual_mean:.1f} ms"
    if report.mean > SLOWER * report.usual_mean + MARGIN:
        raise RolloutError(
            f"it takes {words}",
            "make it faster, or give it more workers: --workers",
            code="canary-worse",
        )
    change.transaction.tell(f"canary: {report.requests} requests, {words}")


def _require_agreement(change: Change, report: Report, wanted: float, compare: str) -> None:
    """Tell how often both versions gave the same answer; raise RolloutError if too seldom.

    `compare` is the command that shows what differs.
    """
    alike, other = report.alike, report.other
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
