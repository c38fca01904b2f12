"""A worker without torch and TorchServe, for archives whose handlers need neither.

    python light_worker.py --sock-type unix --sock-name SOCKET --metrics-config FILE

It takes the same options as ts/model_service_worker.py, and answers the same.
"""

from __future__ import annotations

import argparse
import logging
import socket
import sys
from pathlib import Path
from typing import Any

from marsmith.programs.light_messages import LOAD, PREDICT, Read, loaded, read_batch, read_load
from marsmith.programs.light_service import Service

_ACCEPT_TIMEOUT = 30.0  # seconds


class LightWorker:
    """Answers messages, one after the other."""

    def __init__(self, metrics_config: str, connection: Any) -> None:
        """`connection` is what a handler sends parts of answers to."""
        self._metrics_config = metrics_config
        self._connection = connection
        self._service: Service | None = None
        self.failed = False  # to load: a worker has no further use then

    def answer(self, read: Read) -> bytes:
        """Read one message and return its answer. Raises what a handler raises at its load."""
        command = read(1)
        if command == LOAD:
            return self._load(read)
        if command != PREDICT or self._service is None:
            raise ValueError(f"unexpected command: {command!r}")
        return self._service.predict(read_batch(read))

    def _load(self, read: Read) -> bytes:
        request = read_load(read)
        try:
            self._service = Service(request, self._metrics_config, self._connection)
        except (MemoryError, RuntimeError) as error:
            logging.exception("Failed to load model %s", request.name)
            self.failed = True
            if isinstance(error, MemoryError) or "CUDA" in str(error):
                return loaded(507, "System out of memory")
            return loaded(500, "Unknown exception")
        return loaded(200, f"loaded model {request.name}")


def serve(address: str, metrics_config: str) -> None:
    """Listen, and answer the one front end that connects until it is gone."""
    Path(address).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(_ACCEPT_TIMEOUT)
        listener.bind(address)
        listener.listen(1)
        connection, _ = listener.accept()
    connection.setblocking(True)
    with connection, connection.makefile("rb") as incoming:

        def read(size: int) -> bytes:
            data = incoming.read(size)
            if len(data) < size:  # the front end has ended
                sys.exit(0)
            return data

        worker = LightWorker(metrics_config, connection)
        while not worker.failed:
            connection.sendall(worker.answer(read))


def main() -> None:
    """Serve, and log what ends the worker where TorchServe's own logs it."""
    here = str(Path(__file__).parent)
    sys.path[:] = [folder for folder in sys.path if folder != here]  # else a handler finds these
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
    parser = argparse.ArgumentParser()
    for option in ("--sock-type", "--sock-name", "--metrics-config"):
        parser.add_argument(option, required=True)
    options = parser.parse_args()
    try:
        serve(options.sock_name, options.metrics_config)
    except Exception:
        logging.exception("Backend worker process died.")
    finally:
        Path(options.sock_name).unlink(missing_ok=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
