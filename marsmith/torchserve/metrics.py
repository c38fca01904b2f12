"""A server's rates, errors and times, computed from one or two scrapes; no IO.

TorchServe's front end counts by model (`ts_…`), Marsmith's handlers by version (`handler_…`).
Other handlers do not count, and a front end without metrics_mode=prometheus has no metrics. What
is not measured is None, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from marsmith.torchserve.metrics_text import Labels, Scrape, Wanted, quantile


@dataclass(frozen=True)
class ModelFigures:
    """Figures of one version of a model, between two scrapes."""

    requests: float | None = None
    refused: float | None = None  # answered with 4xx by the handler
    failed: float | None = None  # with 5xx
    per_second: float | None = None
    batch: float | None = None  # requests a batch, on average
    queue_ms: float | None = None  # in the queue, on average
    p50_ms: float | None = None  # in the handler, for the request's batch
    p99_ms: float | None = None


@dataclass(frozen=True)
class ServerFigures:
    """Figures of a whole server, for all its APIs, between two scrapes."""

    answered: float | None = None  # with 2xx
    refused: float | None = None  # with 4xx
    failed: float | None = None  # with 5xx


class Figures:
    """The changes between two scrapes, or since the server's start."""

    def __init__(self, now: Scrape, before: Scrape | None, seconds: float) -> None:
        """`before` is from `seconds` ago; None means that the server was started then."""
        self._now, self._before, self.seconds = now, before, seconds
        self.since_start = before is None

    def server(self) -> ServerFigures:
        """Return the figures of all requests."""
        if "Requests2XX" not in self._now:
            return ServerFigures()
        counts = [self._change(f"Requests{kind}XX", lambda _: True) or 0.0 for kind in (2, 4, 5)]
        return ServerFigures(*counts)

    def model(self, name: str, version: str, *, default: bool) -> ModelFigures:
        """Return the figures of one version."""

        def own(labels: Labels) -> bool:
            return (labels.get("model_name"), labels.get("model_version")) == (name, version)

        def front(labels: Labels) -> bool:
            # The front end counts by the version in the request, if it had one.
            versions = (version, "default") if default else (version,)
            return labels.get("model_name") == name and labels.get("model_version") in versions

        queued = self._change("ts_queue_latency_microseconds", front)
        asked = self._change("ts_inference_requests_total", front)
        requests = self._change("handler_request_seconds_count", own)
        batches = self._change("handler_batches_total", own)
        buckets = self._buckets(own)
        counted = asked if requests is None else requests
        return ModelFigures(
            requests=counted,
            refused=self._change("handler_requests_total", lambda at: own(at) and _status(at, "4")),
            failed=self._change("handler_requests_total", lambda at: own(at) and _status(at, "5")),
            per_second=None if counted is None else counted / self.seconds,
            batch=_share(requests, batches),
            queue_ms=_scaled(_share(queued, asked), 1e-3),
            p50_ms=_scaled(quantile(buckets, 0.5), 1e3),
            p99_ms=_scaled(quantile(buckets, 0.99), 1e3),
        )

    def _change(self, name: str, wanted: Wanted) -> float | None:
        now = self._now.total(name, wanted)
        before = self._before.total(name, wanted) if self._before else None
        return None if now is None else _difference(now, before or 0.0)

    def _buckets(self, wanted: Wanted) -> dict[float, float]:
        name = "handler_request_seconds_bucket"
        now = self._now.buckets(name, wanted)
        before = self._before.buckets(name, wanted) if self._before else {}
        return {bound: _difference(count, before.get(bound, 0.0)) for bound, count in now.items()}


def _difference(now: float, before: float) -> float:
    return now - before if now >= before else now  # after a restart, counters begin at 0


def _status(labels: Labels, first: str) -> bool:
    return labels.get("status", "").startswith(first)


def _share(value: float | None, of: float | None) -> float | None:
    return value / of if value is not None and of else None


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
