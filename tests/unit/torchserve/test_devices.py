"""What a model-config asks of a machine's accelerators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from marsmith.core.findings import Severity
from marsmith.torchserve.devices import device_problems, gpus_here

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
    assert gpus_here(tmp_path) == 2
    (tmp_path / "kfd").touch()
    assert gpus_here(tmp_path) is None
