"""What a model-config asks of a machine's accelerators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from marsmith.core.findings import Severity
from marsmith.torchserve.devices import (
    device_problems,
    front_end_devices,
    gpu_of,
    gpus_here,
)

ERROR, WARNING = Severity.ERROR, Severity.WARNING


@pytest.mark.parametrize(
    ("config", "gpus", "found"),
    [
        ({"deviceIds": [0]}, 0, [("deviceIds", WARNING)]),
        ({"deviceIds": [0, 2], "deviceType": "gpu"}, 2, [("deviceIds", WARNING)]),
        ({"deviceIds": [0, 1]}, 2, []),
        ({"deviceIds": [7]}, None, []),
        ({"deviceType": "gpu"}, 0, [("deviceType", WARNING)]),
        ({"deviceType": "cpu"}, 0, []),
        ({"parallelType": "pp", "parallelLevel": 4}, 4, [("parallelType", ERROR)]),
        ({"parallelType": "pptp"}, None, [("parallelType", ERROR)]),
        ({"parallelType": "tp", "torchrun": {"nproc-per-node": 2}}, 2, []),
        ({"parallelLevel": 2}, 2, [("parallelLevel", WARNING)]),
        ({"parallelType": "custom", "parallelLevel": 2}, 1, [("parallelLevel", ERROR)]),
        ({"parallelType": "custom", "parallelLevel": 2}, 2, [("parallelLevel", ERROR)]),
        ({"parallelType": "custom", "parallelLevel": 1}, 0, []),
    ],
)
def test_what_is_not_here_is_named(
    config: dict[str, Any], gpus: int | None, found: list[tuple[str, Severity]]
) -> None:
    assert [(key, severity) for key, _, _, severity in device_problems(config, gpus)] == found


def test_gpus_are_counted_by_their_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert gpus_here(tmp_path, {}) == 2
    (tmp_path / "kfd").touch()
    assert gpus_here(tmp_path, {}) is None


@pytest.mark.parametrize(
    ("visible", "count"),
    [("0", 1), ("1,0", 2), ("1, 5", 1), ("", 0), ("-1", 0), ("1,-1,0", 1), ("MIG-a,MIG-b", 2)],
)
def test_only_those_that_are_visible_count(
    visible: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert gpus_here(tmp_path, {"CUDA_VISIBLE_DEVICES": visible}) == 0
    for name in ("nvidia0", "nvidia1"):
        (tmp_path / name).touch()
    assert gpus_here(tmp_path, {"CUDA_VISIBLE_DEVICES": visible}) == count


@pytest.mark.parametrize(
    ("visible", "hidden", "number"),
    [
        (None, None, None),
        ("0", None, None),
        ("1, 0", None, None),
        ("", "", "0"),
        ("-1", "-1", "0"),
        ("1,-1,0", "1,-1,0", "1"),
        ("GPU-8932f937", "GPU-8932f937", "1"),
        ("MIG-a,MIG-b", "MIG-a,MIG-b", "2"),
    ],
)
def test_the_front_end_gets_what_it_can_read(
    visible: str | None, hidden: str | None, number: str | None
) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    properties = {} if number is None else {"number_of_gpu": number}
    assert front_end_devices(environ) == (hidden, properties)


@pytest.mark.parametrize(
    ("config", "gpus", "gpu"),
    [
        ({}, 2, None),
        ({"deviceType": "cpu"}, 2, None),
        ({"deviceType": "gpu"}, 2, 0),
        ({"deviceType": "gpu"}, None, 0),
        ({"deviceType": "gpu"}, 0, None),
        ({"deviceType": "gpu", "deviceIds": [1, 0]}, 2, 1),
    ],
)
def test_a_worker_alone_gets_the_first_gpu(
    config: dict[str, Any], gpus: int | None, gpu: int | None
) -> None:
    assert gpu_of(config, gpus) == gpu


@pytest.mark.parametrize(
    ("ids", "gpus", "found"),
    [([2, 0], 3, [2, 0, 2]), (None, 2, [0, 1, 0]), (None, None, [0, 0, 0])],
)
def test_workers_take_the_gpus_in_turn(
    ids: list[int] | None, gpus: int | None, found: list[int]
) -> None:
    config = {"deviceType": "gpu", **({"deviceIds": ids} if ids else {})}
    assert [gpu_of(config, gpus, worker) for worker in range(3)] == found
