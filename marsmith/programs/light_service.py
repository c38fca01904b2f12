"""A handler, loaded and called as TorchServe does it (ts/model_loader.py, ts/service.py)."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from marsmith.programs.light_context import SERVER_VERSION, Context, RequestProcessor
from marsmith.programs.light_messages import InferenceRequest, LoadRequest, answered, failed
from marsmith.programs.light_metrics import Metrics

_MANIFEST = "MAR-INF/MANIFEST.json"
_HANDLE = "handle"
logger = logging.getLogger(__name__)


class Service:
    """A loaded handler."""

    def __init__(self, request: LoadRequest, metrics_config: str, connection: Any) -> None:
        """Import and initialise it; raises whatever that raises.

        `connection` is the socket that a handler sends parts of answers to.
        """
        folder = Path(request.folder)
        file = folder / _MANIFEST
        manifest = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        config_file = (manifest or {}).get("model", {}).get("configFile")
        entry_point, initialize = _entry_points(request.handler)
        properties = {
            "model_dir": request.folder,
            "gpu_id": request.gpu,
            "batch_size": request.batch_size,
            "server_name": "MMS",
            "server_version": SERVER_VERSION,
            "limit_max_image_pixels": request.limit_pixels,
        }
        self.context = Context(
            request.name,
            properties,
            manifest,
            yaml.safe_load((folder / config_file).read_text()) if config_file else {},
            Metrics(metrics_config, request.name),
        )
        self._entry_point = entry_point
        self._connection = connection
        initialize(self.context)

    def predict(self, batch: list[InferenceRequest]) -> bytes:
        """Return the message that answers a batch."""
        context = self.context
        ids = {index: request.id for index, request in enumerate(batch)}
        context.request_ids = context.metrics.request_ids = ids
        context.request_processor = [RequestProcessor(request.headers) for request in batch]
        context.cl_socket = self._connection
        try:
            results = self._entry_point([request.values for request in batch], context)
        except Exception as error:
            return failed(ids, *_refusal(error))
        if not isinstance(results, list):
            logger.warning("model: %s, Invalid return type: %s.", context.model_name, type(results))
            return failed(ids, "Invalid model predict output", 503)
        if len(results) != len(batch):
            logger.warning(  # in TorchServe's words, which answer_faults.py reads
                "model: %s, number of batch response mismatched, expect: %d, got: %d.",
                *(context.model_name, len(batch), len(results)),
            )
            return failed(ids, "number of batch response mismatched", 503)
        try:
            return answered(results, ids, context)
        except Exception:  # half a pair of surrogates in a text, or JSON nested too deeply
            logger.warning("The answers cannot be written.", exc_info=True)
            return failed(ids, "Prediction failed", 503)


def _refusal(error: Exception) -> tuple[str, int]:
    """Return the message and status of a batch whose handler raised `error`."""
    logger.warning("Invoking custom service failed.", exc_info=True)
    own: Any = sys.modules.get("ts.utils.util")  # only a handler that imported it can raise it
    if own is not None and isinstance(error, own.PredictionException):
        return str(error.message), int(error.error_code)
    if isinstance(error, MemoryError) or "CUDA" in str(error):
        return "Out of resources", 507
    return "Prediction failed", 503


def _entry_points(handler: str) -> tuple[Callable[[Any, Any], Any], Callable[[Any], Any]]:
    """Return what answers a batch, and what is called before."""
    path, _, function = handler.partition(":")
    module = importlib.import_module(path.removesuffix(".py").rpartition("/")[2])
    name = function or _HANDLE
    if hasattr(module, name):
        entry_point = getattr(module, name)
        return entry_point, lambda context: entry_point(None, context)
    classes = [
        one
        for _, one in inspect.getmembers(module, inspect.isclass)
        if one.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise ValueError(
            f"Expected only one class in custom service code or a function entry point {classes}"
        )
    service: Any = classes[0]()
    if not hasattr(service, _HANDLE):
        raise ValueError(f"Expect handle method in class {classes[0]}")
    return service.handle, service.initialize
