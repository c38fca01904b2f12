from __future__ import annotations

import json
from pathlib import Path

from marsmith.archive.reader import Archive
from marsmith.client.description import model_of
from marsmith.gateway.torchserve_api.descriptions import description
from tests.projects import write_files
from tests.unit.gateway.backends import model

# In TorchServe's order.
FIELDS = """
modelName modelVersion modelUrl runtime minWorkers maxWorkers batchSize maxBatchDelay
responseTimeout startupTimeout maxRetryTimeoutInSec clientTimeoutInMills parallelType parallelLevel
deviceType continuousBatching useJobTicket useVenv stateful sequenceMaxIdleMSec sequenceTimeoutMSec
maxNumSequence maxSequenceJobQueueSize loadedAtStartup workers jobQueueStatus
"""
MANIFEST = {"runtime": "LSP", "model": {"modelName": "echo", "modelVersion": "1", "handler": "h"}}


def test_a_description_has_torchserves_fields() -> None:
    values = description(model("echo"), None)
    assert list(values) == FIELDS.split()
    assert values["workers"] == [
        {
            "id": "9000",
            "startTime": "1970-01-01T00:00:01.500Z",
            "status": "READY",
            "memoryUsage": 1 << 20,
            "pid": 4711,
            "gpu": False,
            "gpuUsage": "N/A",
        }
    ]


def test_the_kits_client_reads_what_is_written() -> None:
    assert model_of(description(model("echo"), None), "1.0") == model("echo")


def test_what_only_the_archive_says_is_shown(tmp_path: Path) -> None:
    manifest = {**MANIFEST, "model": {**MANIFEST["model"], "configFile": "c.yaml"}}  # type: ignore[dict-item]
    write_files(
        tmp_path,
        {
            "MAR-INF/MANIFEST.json": json.dumps(manifest),
            "c.yaml": "startupTimeout: 7\ndeviceIds: [0, 1]\nbatchSize: 99\n",
        },
    )
    values = description(model("echo"), Archive(tmp_path))
    shown = [values[name] for name in ("runtime", "startupTimeout", "deviceIds", "batchSize")]
    assert shown == ["LSP", 7, [0, 1], 4]
