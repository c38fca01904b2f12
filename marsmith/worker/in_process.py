"""A worker's work within this process, so that a debugger reaches the handler."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

from marsmith.torchserve.environment import torchserve_home


class InProcessWorker:
    """What a worker does, done here: imports torch, and lends working directory and `sys.path`."""

    def __init__(self, model: Path) -> None:
        """Take the place of a worker for the archive unpacked at `model`."""
        self._before = Path.cwd(), list(sys.path), set(sys.modules)
        self._model = model
        os.chdir(model)
        sys.path.insert(0, str(model))
        self._messages: Any = importlib.import_module("ts.protocol.otf_message_handler")
        # The kit's own handlers change both for the worker they run in.
        self._read_before = self._messages._retrieve_buffer
        self._filters_before = list(logging.getLogger().filters)
        worker = importlib.import_module("ts.model_service_worker")
        socket = model.parents[1] / ".ts.sock.9000"  # is never made
        metrics = torchserve_home() / "ts" / "configs" / "metrics.yaml"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # TorchServe leaves files open
            self._worker = worker.TorchModelServiceWorker(
                "unix", str(socket), metrics_config=str(metrics)
            )
        self._worker.sock.close()
        self._service: Any = None
        self._answer = BytesIO()
        self._parts = bytearray()

    def send(self, message: bytes) -> None:
        """Do what a message of the front end's asks; what a handler raises at its load, comes."""
        self._parts = bytearray()
        self._messages._retrieve_buffer = _read
        command, values = self._messages.retrieve_msg(BytesIO(message))
        if command == b"L":
            self._service, text, code = self._worker.load_model(values)
            if self._service:
                self._service.set_cl_socket(self)  # a handler sends parts of answers there
            answer = self._messages.create_load_model_response(code, text)
        else:
            answer = self._service.predict(values)
        self._answer = BytesIO(bytes(self._parts) + answer)

    def sendall(self, part: bytes) -> None:
        """Keep a message that comes before the last one, as a socket would."""
        self._parts += part

    def read(self, size: int) -> bytes:
        """Return so many bytes of the answer."""
        return self._answer.read(size)

    def log(self) -> str:
        """Return nothing: what the handler logs and prints goes where the host's own goes."""
        return ""

    def stop(self) -> None:
        """Put everything back, and forget the archive's modules."""
        folder, path, modules = self._before
        os.chdir(folder)
        sys.path[:] = path
        self._messages._retrieve_buffer = self._read_before
        logging.getLogger().filters[:] = self._filters_before
        for name in set(sys.modules) - modules:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if Path(file).is_relative_to(self._model):
                del sys.modules[name]
        importlib.invalidate_caches()


def _read(message: BytesIO, length: int) -> bytearray:
    """Take the place of what reads a worker's socket."""
    return bytearray(message.read(length))
