"""Models as TorchServe's management API describes them (DescribeModelResponse.java)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from marsmith.archive.reader import Archive
from marsmith.client.description import Model, Worker

_LONGEST_PAGE = 100  # of models
# Values of an archive's model-config that it shows, with what they are without one.
_CONFIGURED: dict[str, Any] = {
    "startupTimeout": 120,
    "maxRetryTimeoutInSec": 300,
    "clientTimeoutInMills": 0,
    "parallelType": "",
    "parallelLevel": 0,
    "deviceType": "cpu",
    "deviceIds": None,
    "continuousBatching": False,
    "useJobTicket": False,
    "useVenv": False,
    "stateful": False,
    "sequenceMaxIdleMSec": 0,
    "sequenceTimeoutMSec": 0,
    "maxNumSequence": 0,
    "maxSequenceJobQueueSize": 0,
}


def listing(models: Sequence[Model], limit: int, token: int) -> dict[str, Any]:
    """Return a page of models, by their default versions, as ApiUtils.getModelList does."""
    names = {one.name: one.url for one in models if one.default}
    limit = limit if 0 <= limit <= _LONGEST_PAGE else _LONGEST_PAGE
    first = max(token, 0)
    last = min(first + limit, len(names))
    page = [{"modelName": name, "modelUrl": names[name]} for name in sorted(names)[first:last]]
    more = {"nextPageToken": str(last)} if first + limit <= len(names) else {}
    return {**more, "models": page}


def description(model: Model, archive: Archive | None, metadata: bytes = b"") -> dict[str, Any]:
    """Describe a version; `metadata` is what its handler says of itself."""
    config = archive.model_config if archive else {}
    values = {
        "modelName": model.name,
        "modelVersion": model.version,
        "modelUrl": model.url,
        "runtime": archive.manifest.runtime if archive else "python",
        "minWorkers": model.min_workers,
        "maxWorkers": model.max_workers,
        "batchSize": model.batch_size,
        "maxBatchDelay": model.max_batch_delay,
        "responseTimeout": model.response_timeout,
        **{name: config.get(name, usual) for name, usual in _CONFIGURED.items()},
        "loadedAtStartup": model.loaded_at_startup,
        "workers": [_worker(one) for one in model.workers],
        "jobQueueStatus": {
            "remainingCapacity": model.remaining_capacity,
            "pendingRequests": model.pending_requests,
        },
        "customizedMetadata": _object(metadata) if metadata else None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _worker(worker: Worker) -> dict[str, Any]:
    started = datetime.fromtimestamp(worker.started, timezone.utc)
    return {
        "id": worker.id,
        "startTime": started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "status": worker.state,
        "memoryUsage": worker.memory,
        "pid": worker.pid,
        "gpu": worker.gpu,
        "gpuUsage": "N/A",
    }


def _object(text: bytes) -> dict[str, Any] | None:
    """Return JSON as an object; TorchServe shows an empty one for all that is none."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if values is None:
        return None
    return values if isinstance(values, dict) else {}
