"""Metrics as text and as figures, on answers as TorchServe 0.12.0 gives them."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from marsmith.core.errors import ClientError
from marsmith.torchserve.metrics import Figures, ModelFigures, ServerFigures
from marsmith.torchserve.metrics_text import parse_metrics, quantile
from tests.codes import coded

INF = float("inf")


def answer(requests: int, *, handlers: bool = True) -> str:
    """What a server answers after so many requests to digits, a tenth of which was refused."""
    own = 'model_name="digits",model_version="1.0"'
    text = f"""\
# HELP Requests2XX Torchserve prometheus counter metric with unit: Count
# TYPE Requests2XX counter
Requests2XX{{Level="Host",Hostname="vm",}} {requests * 0.9}
# TYPE Requests4XX counter
Requests4XX{{Level="Host",Hostname="vm",}} {requests * 0.1}
# TYPE Requests5XX counter
# TYPE ts_queue_latency_microseconds counter
ts_queue_latency_microseconds{{model_name="digits",model_version="default",hostname="vm",}} {requests * 1500}
# TYPE ts_inference_requests_total counter
ts_inference_requests_total{{model_name="digits",model_version="default",hostname="vm",}} {requests - 1}
ts_inference_requests_total{{model_name="digits",model_version="1.0",hostname="vm",}} 1.0
ts_inference_requests_total{{model_name="echo",model_version="default",hostname="vm",}} 7.0
"""  # noqa: E501
    if not handlers:
        return text
    return f"""{text}
# TYPE handler_requests_total counter
handler_requests_total{{{own},status="200",Hostname="vm",}} {requests * 0.9}
handler_requests_total{{{own},status="415",Hostname="vm",}} {requests * 0.1}
handler_requests_total{{{own},status="500",Hostname="vm",}} 0.0
# TYPE handler_batches_total counter
handler_batches_total{{{own},Hostname="vm",}} {requests / 4}
# TYPE handler_request_seconds_count counter
handler_request_seconds_count{{{own},Hostname="vm",}} {requests}
# TYPE handler_request_seconds_bucket counter
handler_request_seconds_bucket{{{own},le="+Inf",Hostname="vm",}} {requests}
handler_request_seconds_bucket{{{own},le="0.001",Hostname="vm",}} 0.0
handler_request_seconds_bucket{{{own},le="0.005",Hostname="vm",}} {requests}
"""


def test_the_figures_since_the_start() -> None:
    figures = Figures(parse_metrics(answer(100)), None, 50)
    assert figures.server() == ServerFigures(answered=90, refused=10, failed=0)
    digits = figures.model("digits", "1.0", default=True)
    assert asdict(digits) == pytest.approx(
        {
            "requests": 100,
            "refused": 10,
            "failed": 0,
            "per_second": 2,
            "batch": 4,
            "queue_ms": 1.5,
            "p50_ms": 3,
            "p99_ms": 4.96,
        }
    )


def test_the_figures_between_two_looks() -> None:
    now, before = parse_metrics(answer(300)), parse_metrics(answer(100))
    digits = Figures(now, before, 10).model("digits", "1.0", default=True)
    assert (digits.requests, digits.refused, digits.per_second) == (200, 20, 20)
    anew = Figures(before, now, 10).model("digits", "1.0", default=True)
    assert (anew.requests, anew.failed) == (100, 0)  # the front end was started anew
    idle = Figures(now, now, 10).model("digits", "1.0", default=True)
    assert (idle.requests, idle.per_second, idle.batch, idle.p99_ms) == (0, 0, None, None)


def test_what_is_not_counted_is_none_and_never_0() -> None:
    foreign = Figures(parse_metrics(answer(100, handlers=False)), None, 10)
    assert foreign.model("echo", "1.0", default=True) == ModelFigures(requests=7, per_second=0.7)
    assert foreign.model("echo", "2.0", default=False) == ModelFigures()
    assert Figures(parse_metrics(""), None, 10).server() == ServerFigures()


@pytest.mark.parametrize(
    ("buckets", "share", "expected"),
    [
        ({}, 0.5, None),
        ({0.1: 0, INF: 0}, 0.5, None),
        ({0.1: 10, INF: 10}, 0.5, 0.05),
        ({0.1: 5, 0.2: 10, INF: 10}, 0.75, 0.15),
        ({0.1: 5, 0.2: 5, INF: 10}, 0.99, 0.2),  # beyond the last bound: at least that
        ({0.1: 0, 0.2: 4, INF: 4}, 1.0, 0.2),
        ({INF: 4}, 0.5, None),
    ],
)
def test_quantiles_are_as_prometheus_takes_them(
    buckets: dict[float, float], share: float, expected: float | None
) -> None:
    assert quantile(buckets, share) == (None if expected is None else pytest.approx(expected))


def test_another_server_is_named_so() -> None:
    with pytest.raises(ClientError, check=coded("metrics-format")):
        parse_metrics("<html>{ no metrics")
