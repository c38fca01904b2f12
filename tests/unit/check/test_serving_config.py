"""marsmith/check/serving_config.py."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from marsmith.check.serving_config import check_serving
from tests.unit.check.archives import subject

CORES = os.cpu_count() or 1


def rules(folder: Path, config: dict[str, Any], code: str = "") -> list[tuple[str, str]]:
    found = check_serving(subject(folder, {"h.py": code}, config))
    return [(one.rule, one.severity.value) for one in found]


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"minWorkers": 1, "maxWorkers": 1, "batchSize": 4}, []),
        ({"minWorker": 1}, [("serving-key", "warning")]),
        ({"batch_size": 4}, [("serving-key", "warning")]),
        ({"labels": ["a"]}, []),  # a handler's own
        ({"batchSize": "four"}, [("serving-value", "error")]),
        ({"minWorkers": 2, "maxWorkers": 1}, [("serving-workers", "error")]),
        ({"maxBatchDelay": 120_000}, [("serving-delay", "error")]),
        ({"maxBatchDelay": 3000, "responseTimeout": 3}, [("serving-delay", "error")]),
        ({"maxBatchDelay": 2999, "responseTimeout": 3}, []),
    ],
)
def test_keys_values_and_what_contradicts_itself(
    tmp_path: Path, config: dict[str, Any], found: list[tuple[str, str]]
) -> None:
    assert rules(tmp_path, config) == found


def test_a_key_that_the_archives_code_reads_is_no_misspelling(tmp_path: Path) -> None:
    code = "size = context.model_yaml_config['batch_size']\n"
    assert rules(tmp_path, {"batch_size": 4}, code) == []


@pytest.mark.parametrize(
    ("config", "code", "found"),
    [
        ({"maxWorkers": CORES}, "", []),
        ({"maxWorkers": CORES + 1}, "", ["serving-threads"]),
        ({"maxWorkers": CORES, "handler_config": {"threads": 2}}, "", ["serving-threads"]),
        ({"maxWorkers": CORES, "handler_config": {"threads": 0}}, "", []),
        ({"maxWorkers": CORES}, "torch.set_num_threads(2)\n", ["serving-threads"]),
        ({"maxWorkers": CORES}, "# torch.set_num_threads(2)\n", []),
        ({"minWorkers": 1}, f"torch.set_num_threads({CORES})\n", []),
    ],
)
def test_workers_times_threads_are_at_most_the_cores(
    tmp_path: Path, config: dict[str, Any], code: str, found: list[str]
) -> None:
    assert [rule for rule, _ in rules(tmp_path, config, code)] == found
