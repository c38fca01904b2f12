"""A worker's work within this process, so that a debugger reaches the handler."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

from marsmith.torchserve.environment import METRICS_CONFIG, torchserve_home


class _Host(Protocol):
    """What loads a handler and calls it; parts of answers go to a connection of their own."""

    def answer(self, message: BytesIO) -> bytes:
        """Return what a worker answers to a message."""

    def restore(self) -> None:
        """Undo what the host and its handler changed in this process."""


class InProcessWorker:
    """What a worker does, done here: it lends working directory and `sys.path`."""

    def __init__(self, model: Path, *, torchserve: bool = True) -> None:
        """Take the place of a worker for the archive unpacked at `model`."""
        self._before = Path.cwd(), list(sys.path), set(sys.modules)
        self._model = model
        self._answer = BytesIO()
        self._parts = bytearray()
        os.chdir(model)
        sys.path.insert(0, str(model))
        self._host: _Host = _TorchServeHost(model, self) if torchserve else _LightHost(self)

    def send(self, message: bytes) -> None:
        """Do what a message of the front end's asks; what a handler raises at its load, comes."""
        self._parts = bytearray()
        answer = self._host.answer(BytesIO(message))
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
        self._host.restore()
        for name in set(sys.modules) - modules:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if Path(file).is_relative_to(self._model):
                del sys.modules[name]
        importlib.invalidate_caches()


class _LightHost:
    """The light worker's own class."""

    def __init__(self, connection: Any) -> None:
        worker: Any = importlib.import_module("marsmith.programs.light_worker")
        self._worker = worker.LightWorker(str(METRICS_CONFIG), connection)

    def answer(self, message: BytesIO) -> bytes:
        """Read the message as it reads its socket."""
        answer: bytes = self._worker.answer(message.read)
        return answer

    def restore(self) -> None:
        """It changes nothing."""


class _TorchServeHost:
    """TorchServe's worker, without its socket; imports torch."""

    def __init__(self, model: Path, connection: Any) -> None:
        self._connection = connection
        package = torchserve_home() / "ts"
        self._messages: Any = importlib.import_module("ts.protocol.otf_message_handler")
        self._read_before = self._messages._retrieve_buffer  # handlers may have their own
        worker = importlib.import_module("ts.model_service_worker")
        socket = model.parents[1] / ".ts.sock.9000"  # is never made
        metrics = package / "configs" / "metrics.yaml"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # TorchServe leaves files open
            self._worker = worker.TorchModelServiceWorker(
                "unix", str(socket), metrics_config=str(metrics)
            )
        self._worker.sock.close()
        self._service: Any = None

    def answer(self, message: BytesIO) -> bytes:
        """Do what ts/model_service_worker.py does with one message."""
        self._messages._retrieve_buffer = _read
        command, values = self._messages.retrieve_msg(message)
        if command != b"L":
            return bytes(self._service.predict(values))
        self._service, text, code = self._worker.load_model(values)
        if self._service:
            self._service.set_cl_socket(self._connection)
        return bytes(self._messages.create_load_model_response(code, text))

    def restore(self) -> None:
        """Let TorchServe's module read sockets again."""
        self._messages._retrieve_buffer = self._read_before


def _read(message: BytesIO, length: int) -> bytearray:
    """Take the place of what reads a worker's socket."""
    return bytearray(message.read(length))
