"""The prediction time is told once a second, all else as ever."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import ts
import ts.metrics.caching_metric
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
from worker_metrics import pace


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that TorchServe's metrics write for the front end."""
    lines: list[str] = []
    monkeypatch.setattr(ts.metrics.caching_metric.logger, "info", lines.append)
    return lines


# TorchServe leaves metrics.yaml open.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def metrics() -> Any:
    config = Path(ts.__file__).parent / "configs" / "metrics.yaml"
    cache = MetricsCacheYamlImpl(config_file_path=str(config))
    cache.initialize_cache()
    cache.model_name = "digits"
    cache.request_ids = {0: "one"}
    return cache


def test_the_prediction_time_is_told_at_once_then_once_a_second(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    paced = metrics()
    pace(paced)
    for step in range(25):
        now = 100.0 + step / 10
        paced.add_time("PredictionTime", step)
    values = [line.split(":")[1].split("|")[0] for line in told]
    assert values == ["0", "10", "20"]


def test_other_metrics_are_told_each_time(told: list[str]) -> None:
    paced = metrics()
    pace(paced)
    for _ in range(3):
        paced.add_time("DecodeTime", 1.5, unit="ms")
    assert sum("DecodeTime" in line for line in told) == 3


def test_where_there_are_no_metrics_nothing_is_changed() -> None:
    pace(None)  # must not raise: in-process there is no front end to tell
