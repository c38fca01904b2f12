"""What a process does that the fork server has forked: it becomes the worker that was asked for.

A model that brings modules with the names of imported ones is run by a new Python process instead.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import sys
import threading
import time
from contextlib import suppress
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NoReturn

from marsmith.programs.fork_request import Request

_ON_START = {"sitecustomize", "usercustomize"}  # Python imports them by itself, if there are any
_PRINTED = 0.5  # seconds until what a worker prints is in its log, at most


def _run(request: Request) -> None:
    """Be the process that Python would have been with these arguments."""
    for number, stream in enumerate(request.streams):
        os.dup2(stream, number)
        os.close(stream)
    threading.Thread(target=_flush, daemon=True).start()
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    script = request.arguments[0]
    given = request.environment.get("PYTHONPATH")
    # An empty one among them is the working directory.
    path = [str(Path.cwd() / folder) for folder in given.split(os.pathsep)] if given else []
    if _brings_own([folder for folder in path if folder not in sys.path]):
        os.execv(sys.executable, [sys.executable, "-u", *request.arguments])  # noqa: S606
    sys.argv = list(request.arguments)
    sys.path[0:1] = [str(Path(script).resolve().parent), *path]
    # As at a start; `random` and `torch` see to it themselves.
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    multiprocessing.current_process().authkey = os.urandom(32)
    runpy.run_path(script, run_name="__main__")


def run_and_exit(request: Request) -> NoReturn:
    """Run it, and end as Python does, but without C++'s destructors.

    Those of onnxruntime wait forever for a thread of the fork server's, which a fork does not have.
    """
    status = 0
    try:
        _run(request)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status & 0xFF)


def _flush() -> None:
    """Let what is printed be in the log soon.

    TorchServe starts its workers with -u. With a write for each line a request takes twice as long,
    since TorchServe's metrics are lines of standard output.
    """
    while True:
        time.sleep(_PRINTED)
        sys.stdout.flush()


def _brings_own(folders: list[str]) -> bool:
    """Say whether a model's folder has modules of names that are imported here."""
    names = {name.partition(".")[0] for name in sys.modules} | _ON_START
    found = (PathFinder.find_spec(name, folders) for name in names)
    return any(spec and spec.origin for spec in found)
