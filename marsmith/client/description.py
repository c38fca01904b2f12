"""The management API's description of a model, over HTTP or gRPC; no IO."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from marsmith.core.errors import ClientError


@dataclass(frozen=True)
class Worker:
    """One worker process of a model."""

    id: str
    state: str  # READY, LOADING, UNLOADING, …
    pid: int
    memory: int  # bytes
    started: float = 0.0  # of time.time()
    gpu: bool = False  # whether it computes on one


@dataclass(frozen=True)
class Model:
    """One version of a model, as the management API describes it."""

    name: str
    version: str
    default: bool
    min_workers: int
    max_workers: int
    batch_size: int
    max_batch_delay: int  # ms
    workers: tuple[Worker, ...]
    url: str = ""  # of its archive: a file of the model store, or where it came from
    response_timeout: int = 0  # seconds; 0 if TorchServe does not say
    pending_requests: int = 0  # that wait for a worker
    remaining_capacity: int = 0  # requests that may wait beside those
    loaded_at_startup: bool = True
    plain_batches: bool = True  # each worker takes a batch, answers it, and takes the next

    @property
    def ready_workers(self) -> int:
        """The number of workers that answer requests."""
        return sum(worker.state == "READY" for worker in self.workers)


def model_of(values: dict[str, Any], default_version: str) -> Model:
    """Read one entry of a description (DescribeModelResponse.java)."""
    queue = values.get("jobQueueStatus", {})
    return Model(
        name=values["modelName"],
        version=values["modelVersion"],
        default=values["modelVersion"] == default_version,
        min_workers=values["minWorkers"],
        max_workers=values["maxWorkers"],
        batch_size=values["batchSize"],
        max_batch_delay=values["maxBatchDelay"],
        workers=tuple(
            Worker(
                worker["id"],
                worker["status"],
                worker["pid"],
                worker["memoryUsage"],
                _seconds(worker.get("startTime")),
                worker.get("gpu", False),
            )
            for worker in values["workers"]
        ),
        url=values.get("modelUrl", ""),
        response_timeout=values.get("responseTimeout", 0),
        pending_requests=queue.get("pendingRequests", 0),
        remaining_capacity=queue.get("remainingCapacity", 0),
        loaded_at_startup=values.get("loadedAtStartup", True),
        plain_batches=not (values.get("continuousBatching") or values.get("stateful")),
    )


def _seconds(time: str | None) -> float:
    """Read a time as Java writes it: 2026-11-28T11:16:04.438Z."""
    return datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp() if time else 0.0


@contextmanager
def expecting_torchserve(where: str, what: str = "management API") -> Iterator[None]:
    """Turn errors of reading another server's answer into a ClientError."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ClientError(
            f"the server at {where} is not TorchServe's {what}",
            "name the server's inference port: --port N",
            code="not-torchserve",
        ) from error
