"""Stands for a worker that the fork server runs: TorchServe's child, with its exit status.

    python forked_worker.py SOCKET PYTHON ARGUMENT…

Python is started with the arguments where they are no worker's, where there is no fork server, and
for a model with packages of its own (install_py_dep_per_model): they must win over imported ones.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

_WORKER = "/ts/model_service_worker.py"
_STREAMS = (0, 1, 2)
_PATIENCE = 60.0  # seconds for the fork server to have imported PyTorch; TorchServe's own are 120


def forked(address: str, arguments: list[str]) -> int | None:
    """Have it run by the fork server at `address`; return its status, None if it did not run."""
    request = json.dumps(
        {"arguments": arguments, "folder": str(Path.cwd()), "environment": dict(os.environ)}
    ).encode()
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.settimeout(_PATIENCE)
            server.connect(address)
            socket.send_fds(server, [len(request).to_bytes(4, "big")], _STREAMS)
            server.sendall(request)
            runs = server.recv(1)
        except OSError as error:
            _note(f"no fork server: {error}; the worker is started by itself")
            return None
        if not runs:
            _note("the fork server did not fork it; the worker is started by itself")
            return None
        server.settimeout(None)
        try:
            return (server.recv(1) or b"\1")[0]
        except OSError:
            return 1  # the fork server ended, and the worker with it


def _note(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    address, python, *arguments = sys.argv[1:]
    own_packages = any(Path.cwd().glob("*.dist-info"))
    if arguments and arguments[0].endswith(_WORKER) and not own_packages:
        status = forked(address, arguments)
        if status is not None:
            sys.exit(status)
    os.execv(python, [python, *arguments])  # noqa: S606
