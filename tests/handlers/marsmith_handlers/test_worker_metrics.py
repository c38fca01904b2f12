"""What a worker counts is told once a second, as TorchServe's front end reads it."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import ts
import yaml
from marsmith_handlers import worker_metrics
from marsmith_handlers.image_request import RequestError
from marsmith_handlers.worker_metrics import METRICS, WorkerMetrics
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

# TorchServe leaves metrics.yaml open.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


STOCK = Path(ts.__file__).parent / "configs" / "metrics.yaml"
OURS = Path(__file__).parents[3] / "marsmith" / "torchserve" / "metrics.yaml"
# Metric.java of TorchServe 0.12.0, without the request ids.
FRONT_END = re.compile(
    r"\[METRICS\](?P<name>\w+)\.\w+:(?P<value>[0-9\-,.e]+)\|#(?P<labels>[^|]*)"
    r"\|#type:(?P<type>[^|,]+)\|#hostname:[^,]+,\d+"
)


def metrics(config: Path = STOCK) -> Any:
    cache = MetricsCacheYamlImpl(config_file_path=str(config))
    cache.initialize_cache()
    cache.model_name = "digits"
    cache.request_ids = {0: "one"}
    return cache


class Told(logging.Handler):
    """Adds up what is told, as the front end does."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, float] = defaultdict(float)
        self.records = 0
        self.again = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.records += 1
        for line in record.getMessage().splitlines():
            match = FRONT_END.fullmatch(line)
            assert match, line
            assert match["labels"].startswith("model_name:digits,model_version:1.0")
            label = match["labels"].partition("1.0,")[2]
            key = f"{match['name']}{{{label}}}" if label else match["name"]
            before = self.values[key] if match["type"] == "COUNTER" else 0
            self.values[key] = before + float(match["value"])
        self.again.set()


@pytest.fixture
def front_end(monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    logger = logging.Logger("worker", logging.INFO)
    logger.addHandler(told)
    monkeypatch.setattr(worker_metrics, "logger", logger)
    monkeypatch.setattr(worker_metrics, "_PERIOD", 0.05)
    return told


def refusal(code: str, status: int = 400) -> RequestError:
    return RequestError(status, code, "message", "hint")


def test_what_is_counted_is_told_even_if_no_other_batch_comes(front_end: Told) -> None:
    counting = WorkerMetrics(metrics(OURS), "1.0")
    counting.start()
    assert front_end.values["handler_worker_starts_total"] == 1
    assert front_end.values["handler_requests_total{status:500}"] == 0
    front_end.again.clear()
    refused = [refusal("broken_image"), refusal("model_failed", 500), refusal("no_image")]
    counting.count(8, refused, 7, [10.0, 10.25, 11.0, 11.5])
    assert front_end.again.wait(10)
    told = front_end.values
    assert told["handler_requests_total{status:200}"] == 5
    assert told["handler_requests_total{status:400}"] == 2
    assert told["handler_requests_total{status:500}"] == 1
    assert told["handler_batches_total"] == 1
    assert told["handler_pictures_total"] == 7
    assert told["handler_decode_failures_total"] == 1
    stages = [
        told[f"handler_stage_seconds_total{{stage:{name}}}"] for name in worker_metrics.STAGES
    ]
    assert stages == [0.25, 0.75, 0.5]
    assert told["handler_request_seconds_sum"] == 12
    assert told["handler_request_seconds_count"] == 8
    buckets = [told[f"handler_request_seconds_bucket{{le:{le}}}"] for le in (1.0, 2.5, "+Inf")]
    assert buckets == [0, 8, 8]


def test_many_batches_are_told_in_few_lines_and_none_is_lost(front_end: Told) -> None:
    counting = WorkerMetrics(metrics(OURS), "1.0")
    counting.start()
    for _ in range(5000):
        counting.count(2, [], 2, [0.0, 0.001, 0.002, 0.003])
    end = time.monotonic() + 10
    while front_end.values["handler_batches_total"] < 5000 and time.monotonic() < end:
        time.sleep(0.01)
    assert front_end.values["handler_batches_total"] == 5000
    assert front_end.values["handler_requests_total{status:200}"] == 10_000
    assert front_end.records < 100


@pytest.mark.parametrize("nowhere", [None, "TorchServe's own"])
def test_where_no_one_wants_them_nothing_is_told(front_end: Told, nowhere: str | None) -> None:
    counting = WorkerMetrics(nowhere and metrics(), "1.0")
    before = threading.active_count()
    counting.start()
    counting.count(1, [], 1, [0.0, 0.1, 0.2, 0.3])
    assert front_end.records == 0
    assert threading.active_count() == before


def test_the_server_is_told_of_all_that_handlers_count_and_of_all_that_torchserve_has() -> None:
    ours, stock = (yaml.safe_load(path.read_text()) for path in (OURS, STOCK))
    assert ours["ts_metrics"] == stock["ts_metrics"]
    named = {
        metric["name"]: (metric["unit"], kind.upper(), metric["dimensions"])
        for kind, entries in ours["model_metrics"].items()
        for metric in entries
    }
    for name, (unit, kind, label) in METRICS.items():
        labels = ["model_name", "model_version"] + ([label] if label else [])
        assert named.pop(name) == (unit, kind, labels)
    left = [metric["name"] for metric in stock["model_metrics"]["gauge"]]
    assert sorted(named) == sorted(left)
