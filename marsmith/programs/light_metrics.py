"""What handlers call as `context.metrics` (ts/metrics): the same refusals, and nothing is told.

Only TorchServe's front end reads a worker's metrics, and it starts workers of its own.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

_TIMES = ("ms", "s")
_SIZES = ("MB", "kB", "GB", "B")


class MetricTypes(Enum):
    """The types of metrics, as TorchServe's own enumeration names them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric:
    """One metric, as a handler holds it."""

    def __init__(self, metric_name: str, unit: str, metric_type: str) -> None:
        self.metric_name, self.unit, self.metric_type = metric_name, unit, metric_type

    def add_or_update(self, *_: Any, **__: Any) -> None:
        """Take a value."""

    update = add_or_update


class Metrics:
    """The metrics that a configuration names, and those that a handler adds."""

    def __init__(self, config_file: str, model_name: str) -> None:
        """Read a metrics_config, such as ts/configs/metrics.yaml."""
        self.model_name = model_name
        self.request_ids: Any = None
        self._known: dict[str, dict[str, Metric]] = {}
        kinds = yaml.safe_load(Path(config_file).read_text(encoding="utf-8"))["model_metrics"]
        for kind, metrics in kinds.items():
            for one in metrics:
                self.add_metric_to_cache(
                    one["name"], one["unit"], one["dimensions"], MetricTypes(kind)
                )

    def set_request_ids(self, request_ids: Any) -> None:
        """Say which requests the next values belong to."""
        self.request_ids = request_ids

    def add_metric_to_cache(
        self,
        metric_name: str,
        unit: str,
        dimension_names: Collection[str] = (),  # noqa: ARG002 - TorchServe's signature
        metric_type: Any = MetricTypes.COUNTER,
    ) -> Metric:
        """Add a metric, or put it in the place of one with the same name and type."""
        kind = _kind(metric_type)
        metric = Metric(metric_name, unit, kind)
        self._known.setdefault(kind, {})[metric_name] = metric
        return metric

    def get_metric(self, metric_name: str, metric_type: Any = MetricTypes.COUNTER) -> Metric:
        """Return a metric. Raises KeyError if there is none."""
        kind = _kind(metric_type)
        try:
            return self._known[kind][metric_name]
        except KeyError:
            message = f"Metric of type '{kind}' and name '{metric_name}' doesn't exist"
            raise KeyError(message) from None

    def add_metric(self, name: str, value: float, *_: Any, **__: Any) -> None:
        """Take a value."""

    add_counter = add_percent = add_error = add_metric

    def add_time(
        self, name: str, value: float, idx: Any = None, unit: str = "ms", *_: Any, **__: Any
    ) -> None:
        """Take a time. Raises ValueError for an unknown unit."""
        _require_unit(name, value, idx, unit, _TIMES)

    def add_size(
        self, name: str, value: float, idx: Any = None, unit: str = "MB", *_: Any, **__: Any
    ) -> None:
        """Take a size. Raises ValueError for an unknown unit."""
        _require_unit(name, value, idx, unit, _SIZES)


def _require_unit(name: str, value: float, idx: Any, unit: str, known: tuple[str, ...]) -> None:
    if unit not in known:
        raise ValueError(f"{name}={value} ({idx}): the unit {unit!r} is not one of {list(known)}")


def _kind(metric_type: Any) -> str:
    """Return a type's name. Raises TypeError unless it is of TorchServe's own enumeration."""
    if not isinstance(metric_type, Enum):
        raise TypeError("`metric_type` must be a MetricTypes enum")
    return str(metric_type.value)
