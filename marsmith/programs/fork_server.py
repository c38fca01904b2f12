"""Imports PyTorch once, and forks workers from itself.

    python fork_server.py LISTENER FRONT_END [light]

With `light` it imports what archives need that do without PyTorch and TorchServe.

LISTENER is the descriptor of a Unix socket that listens, FRONT_END the pid of TorchServe's front
end or of the gateway's supervisor; this process ends with it. The client is TorchServe's child
(forked_worker.py) or the gateway (gateway/local/forking.py), which sends what to run. Workers share
the memory of the imported modules, which is most of a worker's memory.

The fork is made before PyTorch has threads or a GPU; forked_process.py is what follows in the new
process. If anything fails here, TorchServe's child starts its worker by itself.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import resource
import selectors
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from marsmith.programs.fork_request import Request, received
from marsmith.programs.forked_process import run_and_exit

# What TorchServe's worker imports, and what handlers of images do.
_PRELOADED = ["torch", "numpy", "numpy.random", "PIL.Image", "PIL.ImageOps", "ts.arg_parser"]
_PRELOADED += ["ts.async_service", "ts.metrics.metric_cache_yaml_impl", "ts.model_loader"]
_PRELOADED += ["ts.protocol.otf_message_handler"]
# What handlers without torch import; what is not installed here, none of them imports.
_LIGHT = ["numpy", "numpy.random", "PIL.Image", "PIL.ImageOps", "onnxruntime"]
_LIGHT += ["marsmith.programs.light_service"]
_FAREWELL = 1.0  # seconds for workers to end by themselves when the front end is gone
_PAUSE = 0.1  # seconds
_SIGNALLED = 128  # a status above it is a signal's number more, as in shells
_SET_DEATH_SIGNAL, _SET_NAME = 1, 15  # prctl(2)
_NAME = b"ts_worker"  # what ps and top show instead of "python"


@dataclass(eq=False)
class Worker:
    """A worker, and the connection to TorchServe's child that stands for it."""

    pid: int
    ended: int  # a descriptor that tells
    child: socket.socket


class ForkServer:
    """Waits for requests, for the ends of workers, and of those who asked for them."""

    def __init__(self, listener: socket.socket, front_end: int) -> None:
        """Prepare to fork until the process of the descriptor `front_end` ends."""
        self._pid = os.getpid()
        self._listener = listener
        self._front_end = front_end
        self._front_end_lives = True
        self._workers: set[Worker] = set()
        self._selector = selectors.DefaultSelector()
        self._on(listener.fileno(), self._accept)
        self._on(front_end, self._stop)

    def serve(self) -> Request | None:
        """Return a request in each new process, and None in this one, when all have ended."""
        while self._front_end_lives:
            for key, _ in self._selector.select():
                request: Request | None = key.data()
                if request:
                    return request
        end = time.monotonic() + _FAREWELL
        while self._workers and (left := end - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                key.data()
        for worker in self._workers:
            os.kill(worker.pid, signal.SIGKILL)
        for worker in self._workers:  # pid 1 of a container may not reap them
            os.waitpid(worker.pid, 0)
        return None

    def _on(self, descriptor: int, act: Callable[[], Request | None]) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ, act)

    def _stop(self) -> None:
        self._front_end_lives = False
        self._selector.unregister(self._front_end)
        self._selector.unregister(self._listener)

    def _accept(self) -> Request | None:
        """Start a worker. Return its request in the new process, and None in this one."""
        try:
            child, _ = self._listener.accept()
        except OSError:  # too many files are open: the next look finds it again
            time.sleep(_PAUSE)
            return None
        try:
            request = received(child)
        except (OSError, ValueError, TypeError):  # it ended meanwhile, or is none of TorchServe's
            child.close()
            return None
        try:
            if self._forks(child):
                return request
        except OSError as error:  # too many processes or open files; it starts its worker itself
            sys.stderr.write(f"a worker cannot be forked: {error}\n")
            child.close()
        for stream in request.streams:
            os.close(stream)
        return None

    def _forks(self, child: socket.socket) -> bool:
        """Say whether this is the new process. Raises OSError if there can be none."""
        with warnings.catch_warnings():
            # NumPy's threads end before a fork and begin anew after it; Python only counts them.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            self._leave(child)
            return True
        try:
            worker = Worker(pid, os.pidfd_open(pid), child)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        self._workers.add(worker)
        self._on(worker.ended, partial(self._tell, worker))
        self._on(child.fileno(), partial(self._end, worker))
        _send(child, b"\0")  # it runs
        return False

    def _leave(self, child: socket.socket) -> None:
        """Keep nothing of the fork server's, in a process that ends with it."""
        system = ctypes.CDLL(None)
        if system.prctl(_SET_DEATH_SIGNAL, signal.SIGKILL) or os.getppid() != self._pid:
            os._exit(1)
        system.prctl(_SET_NAME, _NAME)
        self._selector.close()
        os.close(self._front_end)
        for worker in self._workers:
            os.close(worker.ended)
        for connection in [self._listener, child, *(worker.child for worker in self._workers)]:
            connection.close()

    def _tell(self, worker: Worker) -> None:
        """Send the exit status of a worker to TorchServe's child."""
        self._workers.remove(worker)
        _, status = os.waitpid(worker.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        _send(worker.child, bytes([code if code >= 0 else _SIGNALLED - code]))
        for descriptor in {worker.ended, worker.child.fileno()} & self._selector.get_map().keys():
            self._selector.unregister(descriptor)
        os.close(worker.ended)
        worker.child.close()

    def _end(self, worker: Worker) -> None:
        """End a worker after TorchServe has ended its child."""
        if worker in self._workers:  # else the same select() reported its end
            os.kill(worker.pid, signal.SIGKILL)
            self._selector.unregister(worker.child)


def _send(child: socket.socket, message: bytes) -> None:
    try:
        child.sendall(message)
    except OSError:
        return  # it has ended: the selector tells


def _preload() -> None:
    for name in _PRELOADED:
        importlib.import_module(name)
    importlib.import_module("marsmith.programs.worker_patches").patch_worker()
    if sys.modules["torch"].cuda.is_initialized():
        sys.exit("what is imported has a GPU, and cannot be forked")


def _preload_light() -> None:
    for name in _LIGHT:
        with suppress(ImportError):
            importlib.import_module(name)


def main() -> None:
    """Import, serve, and in each worker run it."""
    listener, front_end = (int(number) for number in sys.argv[1:3])
    watched = os.pidfd_open(front_end)
    # As Java does for the processes that it starts (os_linux.cpp, MaxFDLimit).
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    _preload_light() if sys.argv[3:] else _preload()
    if threading.active_count() > 1:
        sys.exit("what is imported has threads, and cannot be forked")
    gc.collect()
    gc.freeze()  # imported objects stay shared only if the collector does not write to them
    sys.stdout.flush()
    request = ForkServer(socket.socket(fileno=listener), watched).serve()
    if request is None:
        os._exit(0)
    run_and_exit(request)


if __name__ == "__main__":
    main()
