"""A TorchServe by `marsmith serve`, and a gateway in front of it, as one process to start and end.

python -m bench.in_front PROJECT ARCHIVE PORT
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from types import FrameType

from bench.places import TOOLS
from marsmith.torchserve.ports import free_ports

_PATIENCE = 120.0  # seconds for TorchServe to be ready


def main(project: str, archive: str, port: str) -> int:
    """Run both until this process is told to end."""
    marsmith = [str(TOOLS / "marsmith"), "--project", project]
    behind = free_ports(5)
    url = f"http://127.0.0.1:{behind}"
    with ExitStack() as stack:
        serve = _started(stack, [*marsmith, "serve", archive, "--port", str(behind)])
        end = time.monotonic() + _PATIENCE
        while not _is_healthy(url):
            if serve.poll() is not None or time.monotonic() > end:
                return 1
            time.sleep(0.1)
        front = [*marsmith, "gateway", "--backend", "torchserve", "--url", url, "--port", port]
        return _started(stack, front).wait()


def _started(stack: ExitStack, command: list[str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command)  # noqa: S603
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ping", timeout=5) as answer:  # noqa: S310
            return b'"Healthy"' in answer.read()
    except (urllib.error.URLError, OSError):
        return False


def _end(_: int, __: FrameType | None) -> None:
    sys.exit(143)  # as an exception, so that both are ended on the way out


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    sys.exit(main(*sys.argv[1:]))
