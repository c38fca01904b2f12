"""What can happen to workers: the same for Marsmith's server and for TorchServe as it comes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.faults.servers import Server
from tests.integration.kit import wait_for

Pids = Callable[[], list[int]]
Injection = Callable[[Pids], None]


def _one_killed(pids: Pids) -> None:
    os.kill(pids()[0], signal.SIGKILL)


def _all_killed(pids: Pids) -> None:
    for pid in pids():
        os.kill(pid, signal.SIGKILL)


def _stopped(pids: Pids) -> None:
    os.kill(pids()[0], signal.SIGSTOP)


def _nothing_more(_: Pids) -> None:
    """The handler does it."""


# The fault → the model (archives.py) and what is done to its workers.
FAULTS: dict[str, tuple[str, Injection]] = {
    "one worker of two killed (-9)": ("digest", _one_killed),
    "both workers killed (-9)": ("digest", _all_killed),
    "one worker of two stopped (SIGSTOP)": ("digest", _stopped),
    "out of memory on every 50th request": ("hungry", _nothing_more),
    "handler raises on every 10th request": ("raising", _nothing_more),
    "handler hangs on every 300th request": ("hanging", _nothing_more),
    "handler exits on every 300th request": ("exiting", _nothing_more),
}
MODELS = list(dict.fromkeys(model for model, _ in FAULTS.values()))


@contextmanager
def nobody_up(server: Server) -> Iterator[None]:
    """Let no worker of `closing` come up."""
    closed = server.kit.root / "closed"
    closed.touch()
    for pid in server.pids("closing"):
        os.kill(pid, signal.SIGKILL)
    with server.client() as client:
        wait_for(lambda: client.describe("closing")[0].ready_workers == 0, "the workers to be gone")
    try:
        yield
    finally:
        closed.unlink()
