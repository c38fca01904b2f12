"""A worker in a process of its own, started as the front end starts one (WorkerLifeCycle.java)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from marsmith.core.processes import end_children_of, end_group
from marsmith.torchserve.environment import METRICS_CONFIG, clean_environment, torchserve_home

_PROGRAMS = Path(__file__).parents[1] / "programs"
LOG_FILE = "worker.log"  # what the worker and its handler print, beside models/
_LARGEST_PART = 1 << 20  # bytes; fewer may come than were announced
_MOMENT = 0.5  # seconds
_PAUSE = 0.01  # seconds between two looks for the worker's socket


class WorkerGoneError(Exception):
    """The worker ended, or did not answer in time; what was sent has no answer."""


class WorkerLateError(WorkerGoneError):
    """It lives, but let its time pass."""


class WorkerProcess:
    """A process that runs TorchServe's worker or the light one, and the socket to it."""

    def __init__(
        self, model: Path, timeout: float, notes: Path | None = None, *, torchserve: bool = True
    ) -> None:
        """Start it for the archive unpacked at `model`, `FOLDER/models/…`; timeout in seconds.

        With `notes`, it is watched, and what programs/watched_worker.py sees is written there.
        """
        folder = model.parents[1]
        self._timeout = timeout
        self._log = folder / LOG_FILE
        address = folder / ".ts.sock.9000"
        watch = (_PROGRAMS / "watched_worker.py", notes) if notes else ()
        command: list[str | Path] = [sys.executable, *watch, *_worker(torchserve)]
        command += ["--sock-type", "unix", "--sock-name", address]
        environment = clean_environment(os.environ, folder)
        environment |= {"PYTHONPATH": f"{model}{os.pathsep}", "TS_DECODE_INPUT_REQUEST": "true"}
        if notes:
            environment = _without_caches(environment, folder)
        try:
            with self._log.open("wb") as log:
                self.process = subprocess.Popen(  # noqa: S603
                    command,
                    cwd=model,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a terminal's Ctrl-C is for us; and one group to end
                )
        except BaseException:  # Ctrl-C may come when the process is there, and its id is not yet
            time.sleep(_MOMENT)
            end_children_of(folder)
            raise
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._connect(str(address))
        except BaseException:
            self.stop()
            raise

    def _connect(self, address: str) -> None:
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                self._socket.connect(address)
                return
            except OSError:
                if self.process.poll() is not None:
                    raise WorkerGoneError from None
                if time.monotonic() > deadline:
                    raise WorkerLateError from None
                time.sleep(_PAUSE)

    def send(self, message: bytes) -> None:
        """Send a message of the front end's. Raises WorkerGoneError."""
        self._deadline = time.monotonic() + self._timeout
        try:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(message)
        except TimeoutError as error:
            raise WorkerLateError from error
        except OSError as error:
            raise WorkerGoneError from error

    def read(self, size: int) -> bytes:
        """Return exactly so many bytes of the answer. Raises WorkerGoneError."""
        found = bytearray()
        while len(found) < size:
            try:
                self._socket.settimeout(max(0.001, self._deadline - time.monotonic()))
                part = self._socket.recv(min(size - len(found), _LARGEST_PART))
            except TimeoutError as error:
                raise WorkerLateError from error
            except OSError as error:
                raise WorkerGoneError from error
            if not part:
                raise WorkerGoneError
            found += part
        return bytes(found)

    @property
    def status(self) -> int | None:
        """The exit status if it has ended, below 0 that of a signal."""
        try:
            return self.process.wait(_MOMENT)  # its socket closes before it is gone
        except subprocess.TimeoutExpired:
            return None

    def log(self) -> str:
        """Return what the worker and its handler printed and logged."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """End the worker and whatever it started."""
        self._socket.close()
        end_group(self.process.pid, patience=0.5)
        self.process.wait()
        end_children_of(self._log.parent)


def _worker(torchserve: bool) -> list[str | Path]:
    """Return the program of a worker and its arguments."""
    if not torchserve:
        return [_PROGRAMS / "light_worker.py", "--metrics-config", METRICS_CONFIG]
    package = torchserve_home() / "ts"
    metrics = package / "configs" / "metrics.yaml"
    return [package / "model_service_worker.py", "--metrics-config", metrics]


def _without_caches(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Let libraries look for their downloads in empty folders: a filled one hides a download."""
    other = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE", "HF_DATASETS_CACHE")
    kept = {key: value for key, value in environment.items() if key not in other}
    return kept | {"TORCH_HOME": f"{folder}/torch", "HF_HOME": f"{folder}/huggingface"}
