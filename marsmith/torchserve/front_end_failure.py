"""Explain why the front end gave up a worker that had printed nothing about it; no IO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marsmith.core.findings import Finding
from marsmith.torchserve.worker_lines import front_end_exception

_SILENT = "did not respond in given time"


def explain_front_end(
    server_log: str, model: str, version: str, config: Mapping[str, Any]
) -> Finding | None:
    """Return the finding for a timeout or a setting; None if the front end names neither."""
    exception = front_end_exception(server_log, model, version) or ""
    if _SILENT in exception:
        loading = f"Load model failed: {model}," in server_log
        return _timeout(model, "startupTimeout" if loading else "responseTimeout", config)
    if '"torchRun" is null' in exception:
        message = f"parallelType {config.get('parallelType')!r} needs torchrun, and there is none"
        hint = "add torchrun = { nproc-per-node = 2 } to the serving table, and build it again"
        return Finding(message, hint, rule="serving-device")
    return None


def _timeout(model: str, key: str, config: Mapping[str, Any]) -> Finding:
    limit = f" ({config[key]} s)" if config.get(key) else ""
    task = "load" if key == "startupTimeout" else "answer"
    message = f"it did not {task} within {key}{limit}, so TorchServe ended its worker"
    hint = (
        f"raise {key} in the serving table, and build it again; marsmith check {model} measures "
        f"how long it takes to {task}"
    )
    return Finding(message, hint, rule="serving-timeout")
