"""Keep workers from requests before TorchServe ends them, so that none is lost with them.

TorchServe's thread of a worker takes requests from the queue, hands them to the worker and waits
for its answer. Ending the worker loses a request that the thread has just taken, and answers others
twice or with a 500. So each worker is first given one request of ours, for a description, which it
answers only when it is let go (programs/parking.py). While it waits, it has no other request.

A request goes to any worker, so more are sent until each of the right workers has one. Workers say
so at a socket in the server's folder, and the others are let go at once.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator, Set
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from marsmith.client import Client, Model
from marsmith.core.errors import ClientError

_HEADER = {"x-marsmith-park": "1"}
_SOCKET = "park.sock"
_NAME = "ts_worker"  # of workers that can park (programs/fork_server.py)
_ANSWER = 60.0  # seconds for a worker to be reached, or to be let go
_PAUSE = 0.02
_PID = struct.Struct("3i")  # pid, user, group: SO_PEERCRED


def can_park(pid: int) -> bool:
    """Whether a worker was forked by `marsmith serve`, and so can park."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == _NAME
    except OSError:
        return False


@contextmanager
def parked(
    folder: Path, client: Client, model: Model, pids: Set[int], patience: float
) -> Iterator[None]:
    """Keep these workers of a version from requests, and let them go at the end.

    `folder` is the server's. Those that do not come within `patience` seconds are busy for long.
    """
    address = folder / _SOCKET
    address.unlink(missing_ok=True)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        stack.callback(address.unlink, missing_ok=True)
        listener.bind(str(address))
        listener.listen()
        lot = _Lot(listener, pids)
        stack.callback(lot.close)
        senders = [
            threading.Thread(target=_send, args=(client, model, lot), daemon=True) for _ in pids
        ]
        for thread in (threading.Thread(target=lot.serve, daemon=True), *senders):
            thread.start()
        lot.full.wait(patience)
        lot.full.set()
        yield


class _Lot:
    """The socket at which workers wait."""

    def __init__(self, listener: socket.socket, pids: Set[int]) -> None:
        self._listener = listener
        self._pids = pids
        self._waiting: dict[int, socket.socket] = {}
        self._closed = False
        self.full = threading.Event()  # all are here, or the others are not waited for

    def serve(self) -> None:
        """Keep the workers that are wanted, and let the others go."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # it was closed
            pid = _peer(connection)
            if pid in self._pids:
                self._waiting[pid] = connection
            if pid not in self._pids or self._closed:
                connection.close()
            if self._waiting.keys() >= self._pids:
                self.full.set()

    def close(self) -> None:
        """Let all go."""
        self._closed = True
        self.full.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends accept()
        for connection in list(self._waiting.values()):
            connection.close()


def _peer(connection: socket.socket) -> int:
    said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PID.size)
    pid: int = _PID.unpack(said)[0]
    return pid


def _send(client: Client, model: Model, lot: _Lot) -> None:
    """Ask for descriptions until all are parked; the last request waits in a parked worker."""
    while not lot.full.is_set():
        with suppress(ClientError):  # the queue is full, or the worker was ended meanwhile
            client.describe_by_handler(model.name, model.version, _HEADER, _ANSWER)
        time.sleep(_PAUSE)
